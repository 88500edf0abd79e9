//! Virtual AE titles: a called title stands for one AE at one site.

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::TransferSyntaxUid;
use packhorse_ids::SiteName;

use crate::config::{Errors, RawRoute};
use crate::names::nearest;

/// What the answer to a C-ECHO on a route is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EchoMode {
    /// Whether an instance would be taken into custody here.
    #[default]
    Local,
    /// Whether the far PACS answers, too.
    EndToEnd,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The title we answer as.
    pub called_ae_title: AeTitle,
    /// The site it leads to.
    pub to_site: SiteName,
    /// The AE there.
    pub to_ae_title: AeTitle,
    /// The only listener it is on; `None`: all.
    pub listener: Option<Box<str>>,
    /// The only transfer syntaxes it takes, best first; empty: any.
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
    /// What a C-ECHO is answered by. Policy only carries this.
    pub echo: EchoMode,
}

impl Route {
    pub(crate) fn read(raw: &RawRoute, path: &str, errors: &mut Errors) -> Option<Self> {
        let called = errors.take(
            format!("{path}.called_ae_title"),
            AeTitle::try_from(raw.called_ae_title.as_str()),
        );
        let to = match raw.to.split_once('/') {
            Some((site, title)) => {
                let site = errors.take(format!("{path}.to"), SiteName::try_from(site));
                site.zip(errors.take(format!("{path}.to"), AeTitle::try_from(title)))
            }
            None => {
                errors.add(format!("{path}.to"), "write it as \"site/AE_TITLE\"");
                None
            }
        };
        let syntaxes = errors.take_all(&format!("{path}.transfer_syntaxes"), &raw.transfer_syntaxes, syntax);
        let echo = match raw.echo.as_deref() {
            None | Some("local") => EchoMode::Local,
            Some("end-to-end") => EchoMode::EndToEnd,
            Some(other) => {
                errors.add(
                    format!("{path}.echo"),
                    format!("{other:?} is none of local, end-to-end"),
                );
                EchoMode::Local
            }
        };
        let (to_site, to_ae_title) = to?;
        let listener = raw.listener.as_deref().map(Into::into);
        Some(Self {
            called_ae_title: called?,
            to_site,
            to_ae_title,
            listener,
            transfer_syntaxes: syntaxes,
            echo,
        })
    }
}

/// A transfer syntax by UID or keyword.
pub(crate) fn syntax(text: &str) -> Result<TransferSyntaxUid, String> {
    let uid = transfer_syntax::by_keyword(text).map_or(text, |syntax| syntax.uid);
    match TransferSyntaxUid::try_from(uid) {
        Ok(uid) if uid.is_valid() => Ok(uid),
        _ => {
            let keywords = transfer_syntax::all().iter().map(|syntax| syntax.keyword);
            let hint = nearest(text, keywords)
                .map(|keyword| format!("; did you mean {keyword:?}?"))
                .unwrap_or_default();
            Err(format!("{text:?} is no transfer syntax's UID or keyword{hint}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelled_syntax_is_reported_with_the_nearest_keyword() {
        assert_eq!(
            syntax("JPEGBaseline8bit").unwrap_err(),
            "\"JPEGBaseline8bit\" is no transfer syntax's UID or keyword; did you mean \"JPEGBaseline8Bit\"?"
        );
    }
}
