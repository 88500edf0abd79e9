//! Reading a configuration file: every unknown key and the first value that does not fit, all with their paths, before
//! anything starts.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// Where, such as `destination[1].adress`; lists are counted from 1.
    pub path: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.path, self.problem)
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The file is wrong; everything that is, one line each.
    #[error("{} has {} {}:{}", path.display(), problems.len(), if problems.len() == 1 { "error" } else { "errors" }, lines(problems))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problems: Vec<ConfigProblem>,
    },
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}

/// Reads the file at `path`, and makes a configuration of what it says with `check`.
///
/// # Errors
/// [`ConfigError`] with everything that [`parse`] finds.
pub fn load<T: DeserializeOwned, C>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<C, Vec<ConfigProblem>>,
) -> Result<C, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.into(),
        error,
    })?;
    parse(&text, check).map_err(|problems| ConfigError::Wrong {
        path: path.into(),
        problems,
    })
}

/// Reads configuration text, and makes a configuration of what it says with `check`.
///
/// # Errors
/// Everything that is wrong with it: one syntax error; or all unknown keys, with everything that `check` finds. A value of the
/// wrong type keeps `check` from being asked: then it is all unknown keys and that value.
pub fn parse<T: DeserializeOwned, C>(
    text: &str,
    check: impl FnOnce(&T) -> Result<C, Vec<ConfigProblem>>,
) -> Result<C, Vec<ConfigProblem>> {
    let single = |path: String, problem: String| ConfigProblem { path, problem };
    let deserializer = match toml::Deserializer::parse(text) {
        Ok(deserializer) => deserializer,
        Err(error) => return Err(vec![single(String::new(), error.to_string().trim_end().to_owned())]),
    };
    let mut problems = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| {
        problems.push(single(from_one(&path.to_string()), "there is no such key".to_owned()));
    });
    match value {
        Ok(value) => match check(&value) {
            Ok(checked) if problems.is_empty() => Ok(checked),
            Ok(_) => Err(problems),
            Err(more) => {
                problems.extend(more);
                Err(problems)
            }
        },
        Err(error) => {
            let error: toml::de::Error = error;
            problems.push(single(from_one(&track.path().to_string()), error.message().to_owned()));
            Err(problems)
        }
    }
}

/// Paths of serde count lists from 0 (`rule.0.class` or `rule[0].class`); ours count from 1 (`rule[1].class`).
fn from_one(path: &str) -> String {
    let path = path.replace('[', ".").replace(']', "");
    let mut out = String::new();
    for part in path.split('.').filter(|part| !part.is_empty() && *part != "?") {
        match part.parse::<usize>() {
            Ok(number) => out = format!("{out}[{}]", number + 1),
            Err(_) if out.is_empty() => part.clone_into(&mut out),
            Err(_) => out = format!("{out}.{part}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::units::Span;

    #[derive(Debug, Deserialize)]
    struct File {
        #[expect(dead_code, reason = "only whether it can be read counts")]
        destination: Vec<Destination>,
    }

    #[derive(Debug, Deserialize)]
    struct Destination {
        #[expect(dead_code, reason = "only whether it can be read counts")]
        wait: Option<Span>,
    }

    fn wrong(text: &str) -> Vec<String> {
        let check = |_: &File| Err::<(), _>(vec![]);
        parse(text, check)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn all_unknown_keys_are_reported_at_once_with_their_paths() {
        let text = "colour = 1\n[[destination]]\nwait = \"1s\"\n[[destination]]\nadress = \"x\"\ncalling = 5\n";
        assert_eq!(
            wrong(text),
            [
                "colour: there is no such key",
                "destination[2].adress: there is no such key",
                "destination[2].calling: there is no such key",
            ]
        );
    }

    #[test]
    fn a_value_that_does_not_fit_says_where_and_what() {
        let problems = wrong("[[destination]]\nwait = \"1 s\"\nnope = 1\n[[destination]]\nwait = 30\n");
        assert_eq!(problems.len(), 2);
        assert!(problems[1].starts_with("destination[2].wait: "), "{}", problems[1]);
    }

    #[test]
    fn unknown_keys_and_what_the_check_finds_are_told_together() {
        let found = || ConfigProblem {
            path: "destination[1].wait".to_owned(),
            problem: "too short".to_owned(),
        };
        let check = |_: &File| Err::<(), _>(vec![found()]);
        let problems = parse("colour = 1\n[[destination]]\nwait = \"1s\"\n", check).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert_eq!(problems.last(), Some(&found()));
    }

    #[test]
    fn broken_syntax_says_the_line() {
        assert!(wrong("destination = [")[0].contains("line 1"));
    }
}
