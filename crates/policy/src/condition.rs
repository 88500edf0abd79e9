//! What a rule asks of an instance, which is not known when its presentation context is negotiated.

use std::fmt;

use crate::attribute::{Attribute, HeaderValues};
use crate::config::{Errors, RawRule};
use crate::names::nearest;
use crate::pattern::ValuePattern;
use crate::units;

/// Conditions of a rule; all have to be met. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of the patterns has to match.
    header: Vec<(Attribute, Vec<ValuePattern>)>,
    /// Bytes of the data set.
    larger_than: Option<u64>,
    smaller_than: Option<u64>,
}

/// What is known of an instance at a moment.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    /// `None`: not yet.
    pub(crate) header: Option<&'a HeaderValues>,
    /// Bytes of the data set. `None`: not yet.
    pub(crate) length: Option<u64>,
}

impl Conditions {
    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.header.is_empty() && self.larger_than.is_none() && self.smaller_than.is_none()
    }

    /// The header attributes that it asks for.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute> {
        self.header.iter().map(|(attribute, _)| *attribute)
    }

    /// Whether all are met. `None`: it depends on what is not known yet.
    pub(crate) fn are_met(&self, known: Known<'_>) -> Option<bool> {
        let header = self.header.iter().map(|(attribute, patterns)| {
            let value = known.header?.value(*attribute);
            Some(patterns.iter().any(|pattern| matches(*attribute, value, pattern)))
        });
        let larger = self.larger_than.iter().map(|least| Some(known.length? > *least));
        let smaller = self.smaller_than.iter().map(|most| Some(known.length? < *most));
        header.chain(larger).chain(smaller).fold(Some(true), and)
    }

    pub(crate) fn read(raw: &RawRule, path: &str, errors: &mut Errors) -> Self {
        let mut header: Vec<_> = Vec::new();
        if !raw.modality.is_empty() {
            header.push((Attribute::Modality, patterns(&raw.modality)));
        }
        for (keyword, texts) in &raw.header {
            let path = format!("{path}.header.{keyword}");
            match Attribute::by_keyword(keyword) {
                None => errors.add(path, unknown(keyword)),
                Some(_) if texts.is_empty() => {
                    errors.add(path, "needs at least one pattern; \"\" is for absent or empty")
                }
                Some(Attribute::Modality) if !raw.modality.is_empty() => {
                    errors.add(path, "is said by modality already: leave one of the two out");
                }
                Some(attribute) => header.push((attribute, patterns(texts))),
            }
        }
        let mut size = |key: &str, text: &Option<String>| {
            let text = text.as_deref()?;
            errors.take(format!("{path}.{key}"), units::bytes(text))
        };
        let larger_than = size("larger_than", &raw.larger_than);
        let smaller_than = size("smaller_than", &raw.smaller_than);
        if let (Some(least), Some(most)) = (larger_than, smaller_than)
            && least.saturating_add(1) >= most
        {
            let problem = "nothing is larger than larger_than and smaller than this: the rule can never match";
            errors.add(format!("{path}.smaller_than"), problem);
        }
        Self {
            header,
            larger_than,
            smaller_than,
        }
    }
}

fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// Image Type has several values: one of them, or all with the backslashes between them.
fn matches(attribute: Attribute, value: &str, pattern: &ValuePattern) -> bool {
    let one = |value: &str| pattern.matches(value.trim_matches(' '));
    pattern.matches(value) || (attribute == Attribute::ImageType && value.split('\\').any(one))
}

fn patterns(texts: &[String]) -> Vec<ValuePattern> {
    texts.iter().map(|text| ValuePattern::new(text)).collect()
}

fn unknown(keyword: &str) -> String {
    let keywords: Vec<_> = Attribute::KEYWORDS.iter().map(|(_, keyword)| *keyword).collect();
    let hint = nearest(keyword, keywords.iter().copied())
        .map(|name| format!(" (did you mean {name}?)"))
        .unwrap_or_default();
    let known = keywords.join(", ");
    format!("rules cannot ask for {keyword:?}{hint}; they can for {known}")
}

/// As people say it: `Modality MR or CT, over 64 MiB`. Empty when there are none.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |pattern: &ValuePattern| match pattern.as_str() {
            "" => "absent".to_owned(),
            text => text.to_owned(),
        };
        let header = self.header.iter().map(|(attribute, patterns)| {
            let patterns: Vec<_> = patterns.iter().map(said).collect();
            format!("{attribute} {}", patterns.join(" or "))
        });
        let over = |bytes: &u64| format!("over {}", units::bytes_in_words(*bytes));
        let under = |bytes: &u64| format!("under {}", units::bytes_in_words(*bytes));
        let sizes = self
            .larger_than
            .iter()
            .map(over)
            .chain(self.smaller_than.iter().map(under));
        let all: Vec<_> = header.chain(sizes).collect();
        f.write_str(&all.join(", "))
    }
}
