//! "Did you mean": the nearest of the known words.

/// Of more known words none is looked for, so that a file of ten thousand mistakes among ten thousand names does not
/// compare each with each.
pub(crate) const MOST: usize = 1_000;

/// The nearest known word, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names come from files: a bound keeps the quadratic distance cheap.
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let known: Vec<&str> = known.into_iter().take(MOST + 1).collect();
    if known.len() > MOST {
        return None;
    }
    let given_lower = given.to_lowercase();
    let length = given_lower.chars().count();
    let allowed = 1 + given.chars().count() / 4;
    let near = known.into_iter().filter_map(|word| {
        if word.len() > LONGEST || word == given {
            return None;
        }
        let lower = word.to_lowercase();
        // Words that differ more in their letters alone are farther apart.
        if lower.chars().count().abs_diff(length) > allowed || missing(&given_lower, &lower) > allowed {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&given_lower, &lower);
        (distance <= allowed).then_some((distance, word))
    });
    near.min().map(|(_, word)| word)
}

/// How many letters of a word, each as often as it occurs, the other one has not.
fn missing(word: &str, other: &str) -> usize {
    let mut counts = [0_i32; 256];
    for byte in other.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let missing = word.bytes().filter(|byte| {
        let count = &mut counts[usize::from(*byte)];
        *count -= 1;
        // A letter beyond ASCII is several bytes, and counts once at most.
        *count < 0 && (byte.is_ascii() || *byte >= 0xc0)
    });
    missing.count()
}

/// `did you mean "…"?` for the nearest known word.
pub(crate) fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(given, known).map(|word| format!("did you mean {word:?}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["flavor", "image", "group", "count"];
        assert_eq!(nearest("flavour", known), Some("flavor"));
        assert_eq!(nearest("iamge", known), Some("image"));
        assert_eq!(nearest("Count", known), Some("count"));
        assert_eq!(nearest("memory", known), None);
        assert_eq!(nearest(&"x".repeat(4096), known), None);
        assert_eq!(nearest("größe", ["grösse", "große"]), Some("große"));
        let many: Vec<String> = (0..MOST).map(|number| format!("server{number}")).collect();
        let many = || many.iter().map(String::as_str);
        assert_eq!(nearest("sevrer7", many()), Some("server7"));
        assert_eq!(
            nearest("sevrer7", many().chain(["one"])),
            None,
            "too many to look at"
        );
    }
}
