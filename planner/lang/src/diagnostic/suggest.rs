//! "Did you mean": the nearest of the known words.

/// The nearest known word, if it is near enough to be a slip of the finger.
pub(crate) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Names come from files: a bound keeps the quadratic distance cheap.
    const LONGEST: usize = 64;
    if given.len() > LONGEST {
        return None;
    }
    let allowed = 1 + given.chars().count() / 4;
    known
        .into_iter()
        .filter(|word| word.len() <= LONGEST && *word != given)
        .map(|word| {
            (
                strsim::damerau_levenshtein(&given.to_lowercase(), &word.to_lowercase()),
                word,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word)
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
    }
}
