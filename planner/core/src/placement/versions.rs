//! Comma-separated version predicates, as `img_hv_requested_version` carries them.
//!
//! Older Novas read them with `distutils.versionpredicate`, newer ones with `oslo_utils.versionutils`. The two differ in
//! which versions there are, and a predicate that cannot be read lets the image be built nowhere: its properties are
//! refused (`VersionPredicateField`) before a host is asked.

use super::config::Profile;
use super::matching::is_python_space;
use std::cmp::Ordering;

/// Every predicate of one text.
pub(crate) struct Predicates {
    profile: Profile,
    all: Vec<(Operator, Version)>,
}

/// Whether the order of a host's version and the one written behind the operator is one it asks for.
type Operator = fn(Ordering) -> bool;

/// A version that hosts are compared with.
struct Version {
    /// Counts before all numbers.
    epoch: u64,
    numbers: Vec<u64>,
    /// Where it stands beside the bare numbers: `2.6a1` is before `2.6`, `2.6.post1` behind.
    tail: Ordering,
}

impl Predicates {
    /// `None` where one of them cannot be read.
    pub(crate) fn read(text: &str, profile: Profile) -> Option<Self> {
        let all = text.split(',').map(|predicate| one(predicate, profile));
        Some(Self {
            profile,
            all: all.collect::<Option<_>>()?,
        })
    }

    /// Whether a host's version (libvirt's integer, 2.11.1 is 2011001) meets every predicate. One that cannot be
    /// compared meets none (Nova raises): `distutils` wants two or three numbers.
    pub(crate) fn met_by(&self, version: u64) -> bool {
        let host = parts(version);
        let comparable = match self.profile {
            Profile::Legacy => is_strict(&host),
            Profile::Modern => true,
        };
        comparable
            && self
                .all
                .iter()
                .all(|(operator, wanted)| operator(wanted.order(&host)))
    }
}

/// Why no host meets a text that is to be version predicates.
pub(crate) fn flaw_of_versions(text: &str, profile: Profile) -> Option<String> {
    let readable = Predicates::read(text, profile).is_some();
    (!readable).then(|| "write versions such as \">=2.11, <9.0\"".to_owned())
}

/// As people write it: `2.11.1`.
pub(crate) fn text(version: u64) -> String {
    let parts: Vec<String> = parts(version).iter().map(ToString::to_string).collect();
    parts.join(".")
}

/// As `oslo_utils.versionutils.convert_version_to_str`: thousands, the first one not zero.
fn parts(mut version: u64) -> Vec<u64> {
    let mut parts = Vec::new();
    while version != 0 {
        parts.insert(0, version % 1000);
        version /= 1000;
    }
    parts
}

fn one(predicate: &str, profile: Profile) -> Option<(Operator, Version)> {
    // Where one begins with another the longer stands first.
    const OPERATORS: [(&str, Operator); 6] = [
        ("<=", Ordering::is_le),
        (">=", Ordering::is_ge),
        ("<", Ordering::is_lt),
        (">", Ordering::is_gt),
        ("!=", Ordering::is_ne),
        ("==", Ordering::is_eq),
    ];
    let predicate = predicate.trim_matches(is_python_space);
    let (operator, version) = OPERATORS
        .into_iter()
        .find_map(|(written, operator)| Some((operator, predicate.strip_prefix(written)?)))?;
    let version = version.trim_start_matches(is_python_space);
    let version = match profile {
        Profile::Legacy => strict(version),
        Profile::Modern => pep440(version),
    };
    Some((operator, version?))
}

impl Version {
    /// That of a host, which is numbers alone, to this one.
    fn order(&self, host: &[u64]) -> Ordering {
        0.cmp(&self.epoch)
            .then_with(|| compare(host, &self.numbers))
            .then(self.tail.reverse())
    }
}

/// Missing numbers count as zero: 2.6 equals 2.6.0.
fn compare(host: &[u64], wanted: &[u64]) -> Ordering {
    let part = |parts: &[u64], at: usize| parts.get(at).copied().unwrap_or(0);
    (0..host.len().max(wanted.len()))
        .map(|at| part(host, at).cmp(&part(wanted, at)))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn is_strict(numbers: &[u64]) -> bool {
    matches!(numbers.len(), 2 | 3)
}

/// As `distutils.version.StrictVersion`: two or three numbers, and perhaps `a` or `b` with one more.
fn strict(text: &str) -> Option<Version> {
    let (numbers, pre) = match text.split_once(['a', 'b']) {
        Some((numbers, pre)) => (numbers, Some(number(pre)?)),
        None => (text, None),
    };
    let numbers: Vec<u64> = numbers.split('.').map(number).collect::<Option<_>>()?;
    is_strict(&numbers).then_some(Version {
        epoch: 0,
        numbers,
        tail: pre.map_or(Ordering::Equal, |_| Ordering::Less),
    })
}

/// As `packaging.version.Version` (PEP 440): any count of numbers, with an epoch before and pre-, post- and
/// development releases and a local label behind.
fn pep440(text: &str) -> Option<Version> {
    let text = text.to_ascii_lowercase();
    let text = text.strip_prefix('v').unwrap_or(&text);
    let (public, local) = text
        .split_once('+')
        .map_or((text, None), |(public, local)| (public, Some(local)));
    let (epoch, rest) = public.split_once('!').unwrap_or(("0", public));
    let (numbers, rest) = release(rest)?;
    let pre = segment(rest, &["alpha", "a", "beta", "b", "preview", "pre", "rc", "c"]);
    let rest = pre.unwrap_or(rest);
    let post = bare_post(rest).or_else(|| segment(rest, &["post", "rev", "r"]));
    let rest = post.unwrap_or(rest);
    let dev = segment(rest, &["dev"]);
    let whole = dev.unwrap_or(rest).is_empty() && local.is_none_or(is_local);
    let tail = if pre.is_some() || (dev.is_some() && post.is_none()) {
        Ordering::Less
    } else if post.is_some() || local.is_some() {
        Ordering::Greater
    } else {
        Ordering::Equal
    };
    let epoch = number(epoch)?;
    whole.then_some(Version { epoch, numbers, tail })
}

/// The numbers in front, and what follows: a dot without a number belongs to what follows.
fn release(text: &str) -> Option<(Vec<u64>, &str)> {
    let (first, mut rest) = digits(text);
    let mut numbers = vec![number(first)?];
    while let Some((next, after)) = rest.strip_prefix('.').map(digits)
        && let Some(next) = number(next)
    {
        numbers.push(next);
        rest = after;
    }
    Some((numbers, rest))
}

/// What follows one of the labels, with or without a number and separators around: `-rc.1`, `.post`, `dev3`.
fn segment<'t>(text: &'t str, labels: &[&str]) -> Option<&'t str> {
    let unseparated = |text: &'t str| text.strip_prefix(['-', '_', '.']).unwrap_or(text);
    let text = unseparated(text);
    let rest = labels.iter().find_map(|label| text.strip_prefix(label))?;
    Some(digits(unseparated(rest)).1)
}

/// A post-release without its label: `-1`.
fn bare_post(text: &str) -> Option<&str> {
    let (digits, rest) = digits(text.strip_prefix('-')?);
    (!digits.is_empty()).then_some(rest)
}

fn is_local(label: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    label.split(['-', '_', '.']).all(word)
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// A number as long as it may be; a host's are all below the largest.
fn number(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `None` where the predicates cannot be read.
    fn answer(version: u64, predicates: &str, profile: Profile) -> Option<bool> {
        Some(Predicates::read(predicates, profile)?.met_by(version))
    }

    /// Each answer is that of `distutils.versionpredicate` (Python 3.7) and `oslo_utils.versionutils` (8.0).
    #[test]
    fn predicates_are_read_as_the_profile_reads_them() {
        let (yes, no) = (Some(true), Some(false));
        for (version, predicates, legacy, modern) in [
            (2_011_001, "==2.11.1", yes, yes),
            (2_011_001, ">=2.6, <8.0", yes, yes),
            (2_011_001, ">=2.6,<2.11", no, no),
            (9_000_000, " >=\u{1f}9.0 ", yes, yes),
            (4_002_001, "!=4.2.1", no, no),
            (12_001, "==12.1", yes, yes),
            (4_002_001, "<99999999999999999999.0", yes, yes),
            (4_002_001, "4.2.1", None, None),
            (4_002_001, "~=4.0", None, None),
            (4_002_001, "==4.2.*", None, None),
            (4_002_001, "", None, None),
            (4_002_001, ">=4.0,", None, None),
            (4_002_001, ">=", None, None),
            (4_002_001, ">==4.0", None, None),
            (4_002_001, ">=4. 0", None, None),
            (4_002_001, ">=x", None, None),
            (4_002_001, ">=+4.0", None, None),
            // One number and four.
            (4_002_001, ">=2", None, yes),
            (4_002_001, ">=4.2.0.9", None, yes),
            (1_002_003_004, "> 1.2.3", no, yes),
            (4, ">=4.0", no, yes),
            // Before and behind a release.
            (2_006_000, ">=2.6a1", yes, yes),
            (2_006_000, "<2.6.0b2", no, no),
            (2_006_000, "==2.6b2", no, no),
            (2_005_009, "<2.6a1", yes, yes),
            (2_006_000, ">2.6rc1", None, yes),
            (2_006_000, ">2.6-ALPHA.1", None, yes),
            (2_006_000, ">v2.6.dev3", None, yes),
            (2_006_000, "<2.6.post1.dev2", None, yes),
            (2_006_000, "<2.6-1", None, yes),
            (2_006_000, ">2.6a.post2", None, yes),
            (2_006_000, "<2.6+local.1", None, yes),
            (2_006_000, "<1!1.0", None, yes),
            (2_006_000, "==2.6.", None, None),
            (2_006_000, "==2.6-", None, None),
            (2_006_000, "==2.6+", None, None),
            (2_006_000, "==2.6z1", None, None),
            (2_006_000, ">2.6a", None, yes),
        ] {
            assert_eq!(
                answer(version, predicates, Profile::Legacy),
                legacy,
                "legacy {version} {predicates:?}"
            );
            assert_eq!(
                answer(version, predicates, Profile::Modern),
                modern,
                "modern {version} {predicates:?}"
            );
        }
    }
}
