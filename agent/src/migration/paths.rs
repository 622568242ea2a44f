//! A domain's XML as the destination needs it: the paths below the data directory are that host's, and the
//! epoch is the new one. Nothing else changes, or libvirt would refuse the guest.

use drover_types::Epoch;

/// Rewrites `xml`, a migratable or persistent configuration of one of our domains.
pub(super) fn for_destination(
    xml: &str,
    own_data_dir: &str,
    peer_data_dir: &str,
    from: Epoch,
    to: Epoch,
) -> String {
    let mut rewritten = xml.to_owned();
    for quote in ['\'', '"'] {
        let own = format!("{quote}{}/", escape(own_data_dir.trim_end_matches('/')));
        let peer = format!("{quote}{}/", escape(peer_data_dir.trim_end_matches('/')));
        rewritten = rewritten.replace(&own, &peer);
    }
    // libvirt may choose another prefix for our namespace.
    rewritten.replace(&format!("epoch>{from}</"), &format!("epoch>{to}</"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('\'', "&apos;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_the_data_directory_and_the_epoch_change() {
        let xml = "<domain><drover:epoch>3</drover:epoch><name>/data/n1/x</name>\
                   <source file='/data/n1/servers/a/disk.qcow2'/><source file='/data/n10/other'/>\
                   <log file=\"/data/n1/servers/a/console.log\"/></domain>";
        let expected = "<domain><drover:epoch>4</drover:epoch><name>/data/n1/x</name>\
                        <source file='/srv/n2/servers/a/disk.qcow2'/><source file='/data/n10/other'/>\
                        <log file=\"/srv/n2/servers/a/console.log\"/></domain>";
        let found = for_destination(xml, "/data/n1/", "/srv/n2", Epoch::new(3), Epoch::new(4));
        assert_eq!(found, expected);
    }
}
