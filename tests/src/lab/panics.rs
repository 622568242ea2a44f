//! Says once more at the end why a test failed: what commands and agents printed is long, and of a long log
//! people and CI systems see the end.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has every panic from now on remembered by its thread; it is shown at once, too.
pub(super) fn remember() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let shown = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            LAST.set(Some(panic.to_string()));
            shown(panic);
        }));
    });
}

/// Shows the panic that this thread is ending by, if it is.
pub(super) fn show_again() {
    if std::thread::panicking()
        && let Some(panic) = LAST.take()
    {
        eprintln!("--- the test failed: {panic}");
    }
}
