//! Patterns: `*` stands for any characters, also none, and `?` for exactly one.

use std::fmt;

use packhorse_dicom::ae_title::AeTitle;

/// A pattern of AE titles. Case counts, as it does in AE titles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TitlePattern(Box<str>);

impl TitlePattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let plain = text.replace(['*', '?'], "A");
        match AeTitle::try_from(plain.as_str()) {
            Ok(_) => Ok(Self(text.into())),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn matches(&self, title: &AeTitle) -> bool {
        wildcard(self.0.as_bytes(), title.as_str().as_bytes(), [b'*', b'?'])
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it would match if case did not count: worth a word in the log.
    pub(crate) fn matches_but_for_case(&self, title: &AeTitle) -> bool {
        let (pattern, title) = (self.0.to_ascii_uppercase(), title.as_str().to_ascii_uppercase());
        wildcard(pattern.as_bytes(), title.as_bytes(), [b'*', b'?'])
    }

    /// Whether it is certain to match every title that the other matches.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let fits = |wide: u8, narrow: u8| wide == narrow || (wide == b'?' && narrow != b'*');
        fitting(self.0.as_bytes(), other.0.as_bytes(), b'*', fits)
    }

    /// Whether some title matches both.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        // From the end: whether the rest of one meets the rest of the other, for each rest of the other.
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        let stars = |rest: &[u8]| rest.iter().all(|byte| *byte == b'*');
        let mut below: Vec<bool> = (0..=b.len()).map(|at| stars(b.get(at..).unwrap_or_default())).collect();
        for (i, x) in a.iter().enumerate().rev() {
            let mut row = vec![stars(a.get(i..).unwrap_or_default())];
            for (j, y) in b.iter().enumerate().rev() {
                let met = |row: &[bool], at: usize| row.get(at).copied().unwrap_or(false);
                let right = row.last().copied().unwrap_or(false);
                row.push(match (x, y) {
                    (b'*', _) | (_, b'*') => right || met(&below, j),
                    (b'?', _) | (_, b'?') => met(&below, j + 1),
                    (x, y) => x == y && met(&below, j + 1),
                });
            }
            row.reverse();
            below = row;
        }
        below.first().copied().unwrap_or(false)
    }
}

impl fmt::Display for TitlePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of header values. Case does not count: people type names as they like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValuePattern {
    text: Box<str>,
    folded: Vec<char>,
}

impl ValuePattern {
    pub(crate) fn new(text: &str) -> Self {
        Self {
            text: text.into(),
            folded: fold(text),
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        wildcard(&self.folded, &fold(value), ['*', '?'])
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn wildcard<T: Copy + PartialEq>(pattern: &[T], text: &[T], [any, one]: [T; 2]) -> bool {
    fitting(pattern, text, any, |wanted, given| wanted == one || wanted == given)
}

/// Goes back to the last `any` only, so that the work is at most one length times the other: values are a peer's.
fn fitting<T: Copy + PartialEq>(pattern: &[T], text: &[T], any: T, fits: impl Fn(T, T) -> bool) -> bool {
    let (mut wanted, mut given) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(wanted), text.get(given)) {
            (Some(pattern), _) if *pattern == any => {
                wanted += 1;
                back = Some((wanted, given));
            }
            (Some(pattern), Some(character)) if fits(*pattern, *character) => {
                wanted += 1;
                given += 1;
            }
            (None, None) => return true,
            _ => match back {
                Some((behind, from)) if from < text.len() => {
                    back = Some((behind, from + 1));
                    (wanted, given) = (behind, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn title(text: &str) -> AeTitle {
        AeTitle::try_from(text).unwrap()
    }

    fn pattern(text: &str) -> TitlePattern {
        TitlePattern::parse(text).unwrap()
    }

    #[test]
    fn title_patterns_count_case() {
        assert!(pattern("CT_*").matches(&title("CT_1")) && pattern("CT_*").matches(&title("CT_")));
        assert!(!pattern("CT_*").matches(&title("ct_1")) && pattern("CT_*").matches_but_for_case(&title("ct_1")));
        assert!(pattern("A?C").matches(&title("ABC")));
        assert!(TitlePattern::parse("A\\B").is_err());
    }

    #[test]
    fn value_patterns_do_not() {
        let test = ValuePattern::new("*test*");
        assert!(test.matches("TEST^PATIENT") && test.matches("Teilnehmer^Test") && !test.matches("Tset"));
        assert!(ValuePattern::new("M?ller").matches("MÜLLER"));
        assert!(ValuePattern::new("").matches("") && !ValuePattern::new("").matches("x"));
        assert!(!ValuePattern::new("?*").matches(""));
    }

    #[test]
    fn a_pattern_of_many_stars_is_done_with_soon() {
        let pattern = ValuePattern::new(&"*a".repeat(60));
        assert!(!pattern.matches(&"a".repeat(59)) && pattern.matches(&"a".repeat(256)));
        assert!(!ValuePattern::new(&format!("{}b", "*a".repeat(120))).matches(&"a".repeat(256)));
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!['A', 'B', '*', '?']), 1..6)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_said_of_two_patterns_is_so_of_every_title(
            a in any_pattern(),
            b in any_pattern(),
            titles in prop::collection::vec("[AB]{1,6}", 24),
        ) {
            let (a, b) = (pattern(&a), pattern(&b));
            for title in titles.iter().map(|text| title(text)) {
                let (by_a, by_b) = (a.matches(&title), b.matches(&title));
                prop_assert!(!a.covers(&b) || !by_b || by_a, "{a} covers {b} but for {title}");
                prop_assert!(a.meets(&b) || !(by_a && by_b), "{a} meets {b} at {title}");
                prop_assert_eq!(a.meets(&b), b.meets(&a));
            }
            prop_assert!(a.covers(&a) && a.meets(&a) && pattern("*").covers(&a));
        }
    }
}
