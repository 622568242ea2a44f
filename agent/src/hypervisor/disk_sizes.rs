//! Sizes of domains' disks. libvirt lists a domain that it is busy with (one that starts, or is migrated) without them;
//! then the last ones that it told count.

use std::collections::BTreeMap;
use uuid::Uuid;

/// One domain's disks, by target; none of a disk whose size was not told. Nothing: no disk was told of.
pub(super) type Told = Option<Vec<(String, Option<u64>)>>;

/// What is known of each domain.
#[derive(Debug, Default)]
pub(super) struct DiskSizes(BTreeMap<Uuid, BTreeMap<String, u64>>);

impl DiskSizes {
    /// The sizes of all domains that are there now, in bytes. Those that are gone are forgotten.
    pub(super) fn learn(&mut self, told: BTreeMap<Uuid, Told>) -> &BTreeMap<Uuid, BTreeMap<String, u64>> {
        let mut before = std::mem::take(&mut self.0);
        for (domain, told) in told {
            let mut known = before.remove(&domain).unwrap_or_default();
            let sizes = match told {
                None => known,
                Some(disks) => disks
                    .into_iter()
                    .filter_map(|(target, size)| {
                        let size = size.or_else(|| known.remove(&target))?;
                        Some((target, size))
                    })
                    .collect(),
            };
            self.0.insert(domain, sizes);
        }
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_busy_domain_does_not_tell_is_remembered_for_as_long_as_it_is_there() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let disk = |target: &str, size| (target.to_owned(), size);
        let mut sizes = DiskSizes::default();
        let mut learn = |told: &[(Uuid, Told)]| sizes.learn(told.iter().cloned().collect()).clone();
        let both = Some(vec![disk("vda", Some(8)), disk("vdb", Some(4))]);
        let known = learn(&[(one, both), (other, None)]);
        assert_eq!(known[&one], [("vda".to_owned(), 8), ("vdb".to_owned(), 4)].into());
        assert_eq!(known[&other], BTreeMap::new());

        let busy = learn(&[(one, None)]);
        assert_eq!(busy, [(one, known[&one].clone())].into(), "the other is gone");
        let named = learn(&[(one, Some(vec![disk("vda", None), disk("vdc", None)]))]);
        assert_eq!(
            named[&one],
            [("vda".to_owned(), 8)].into(),
            "one was taken out, one is new"
        );
        let none = learn(&[(one, Some(Vec::new()))]);
        assert_eq!(none[&one], BTreeMap::new());
        assert_eq!(learn(&[(one, None)])[&one], BTreeMap::new());
    }
}
