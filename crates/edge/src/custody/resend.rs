//! A delivered study is sent again: here, or by the site that has it.

use std::collections::BTreeSet;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::SiteName;
use packhorse_ledger::StudyFilter;
use packhorse_ledger::store::ProjectionError;
use packhorse_ledger::view::Direction;

use super::{Action, CustodyError, Order, Report, Selector, carry_out};
use crate::messages::Message;
use crate::shared::Shared;

/// Accounts of one study that are looked at.
const ACCOUNTS_MAX: usize = 1000;

/// Asks the sites that a study went to, to send it to their PACS again. Which were asked, as `site/AE`.
///
/// # Errors
/// [`CustodyError`]; some may have been asked.
pub(crate) async fn ask_far_sites(
    shared: &Shared,
    study: &str,
    to: Option<&str>,
    dry_run: bool,
) -> Result<Vec<String>, CustodyError> {
    let filter = StudyFilter {
        study: Some(study.to_owned()),
        to: to.map(str::to_owned),
        ..StudyFilter::default()
    };
    let asked = shared.ledger(move |projection| projection.studies(&filter, ACCOUNTS_MAX));
    let accounts = asked.await.ok_or(CustodyError::Silent)??;
    let outgoing = accounts
        .into_iter()
        .filter(|account| account.direction == Direction::Outgoing);
    let targets: BTreeSet<String> = outgoing.map(|account| account.to).collect();
    for (site, ae_title) in targets.iter().filter_map(|target| parts(target)) {
        let message = Message::Resend {
            study: study.to_owned(),
            to_ae_title: Some(ae_title.to_string()),
        };
        if !dry_run {
            shared.send_message(&site, &message).await?;
        }
    }
    Ok(targets.into_iter().collect())
}

fn parts(target: &str) -> Option<(SiteName, AeTitle)> {
    let (site, ae_title) = target.split_once('/')?;
    Some((SiteName::try_from(site).ok()?, AeTitle::try_from(ae_title).ok()?))
}

/// Does what `site` asks: what came from it, and is still here, goes to its destination again. It hears of it by receipts.
///
/// # Errors
/// That it must be tried again.
pub(crate) async fn asked_by(
    shared: &Shared,
    site: &SiteName,
    study: &str,
    to: Option<&str>,
) -> Result<(), &'static str> {
    let which = match Selector::of_site(site.as_str(), study, to) {
        Ok(which) => which,
        Err(problems) => {
            tracing::warn!(%site, problems = problems.join("; "), "a request to send a study again is passed over");
            return Ok(());
        }
    };
    let order = Order {
        action: Action::Resend,
        which,
        by: format!("site {site}"),
        dry_run: false,
        at_most: u64::MAX,
    };
    let done = carry_out(shared, &order).await.map(|report: Report| report.count());
    match done {
        Ok(instances) => {
            tracing::info!(%site, instances, "a delivered study is sent again, as its source's site asks");
            Ok(())
        }
        Err(CustodyError::Ledger(ProjectionError::Database(_)) | CustodyError::Store(_) | CustodyError::Silent) => {
            Err("the study cannot be looked up now")
        }
        Err(CustodyError::Ledger(_)) => Err("the ledger cannot be read now"),
    }
}
