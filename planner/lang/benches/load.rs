//! From text to the model: 10,000 servers and a quarter of that, as blocks and by `for_each`.

use criterion::{Criterion, criterion_group, criterion_main};
use drover_lang::config::{self, InputFile, ModuleError, ModuleReader};
use std::hint::black_box;
use support::{BASE, inputs, new_store};

#[path = "../tests/language/support/mod.rs"]
mod support;

/// These configurations have no modules.
struct NoModules;

impl ModuleReader for NoModules {
    fn files(&self, folder: &str) -> Result<Vec<InputFile>, ModuleError> {
        Err(ModuleError::NotFound(folder.to_owned()))
    }
}

fn blocks(count: usize) -> String {
    (0..count).fold(BASE.to_owned(), |text, at| {
        text + &format!(
            "server \"s{at}\" {{\n  flavor = flavor.small\n  image  = image.debian\n  labels = {{ a = \"b\" }}\n}}\n"
        )
    })
}

fn for_each(count: usize) -> String {
    format!(
        "{BASE}server \"web\" {{\n  for_each = {{ for i in range({count}) : \"k${{i}}\" => i }}\n  flavor = \
         flavor.small\n  image = image.debian\n  labels = {{ n = each.value }}\n}}\n"
    )
}

fn load(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("load");
    group.sample_size(10);
    for count in [2_500, 10_000] {
        for (name, text) in [("blocks", blocks(count)), ("for_each", for_each(count))] {
            let files = [InputFile {
                path: "main.hcl".to_owned(),
                bytes: text.into_bytes(),
            }];
            group.bench_function(format!("parse, {count} by {name}"), |bencher| {
                bencher.iter(|| black_box(config::parse(&files, &NoModules)));
            });
            let (parsed, found) = config::parse(&files, &NoModules);
            assert!(!found.has_errors());
            let inputs = inputs(&[], new_store());
            group.bench_function(format!("evaluate, {count} by {name}"), |bencher| {
                bencher.iter(|| black_box(config::evaluate(&parsed, &inputs)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, load);
criterion_main!(benches);
