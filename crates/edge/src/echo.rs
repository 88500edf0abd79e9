//! C-ECHO: from here to the PACS at the far end of a route, and what is answered to who asks.

mod check;
mod far;
mod report;
mod shared_check;

use std::sync::Arc;

use packhorse_dicom::negotiation::Proposal;
use packhorse_dicom::status::Status;
use packhorse_policy::EchoMode;

pub(crate) use check::of_our_pacs;
pub(crate) use far::{FarEchoes, Place, Way, walk};
pub(crate) use report::{LegTime, PacsCheck};
pub(crate) use shared_check::SharedCheck;

use crate::shared::Shared;

/// Longest Error Comment (0000,0902).
const COMMENT_LEN_MAX: usize = 64;

/// The answer to a C-ECHO of an admitted caller: status, and the Error Comment of a failure. Within `[echo] answer`.
pub(crate) async fn answer(shared: &Arc<Shared>, proposal: &Proposal) -> (Status, Option<String>) {
    // Whatever the route says, a gateway that takes nothing is no place to send to.
    if !shared.spool.takes() {
        return failed("gateway", "its disk is full or out of order");
    }
    let route = shared
        .config
        .engine
        .route(&proposal.called_ae_title, &proposal.listener);
    let Some(route) = route.filter(|route| route.echo == EchoMode::EndToEnd) else {
        return (Status::SUCCESS, None);
    };
    match far::shared_way(shared, &route.to_site, &route.to_ae_title).await {
        None => failed(route.to_site.as_str(), "no answer in time"),
        Some((way, _)) => of_way(&way),
    }
}

fn of_way(way: &Way) -> (Status, Option<String>) {
    let Some(stop) = &way.stopped else {
        return (Status::SUCCESS, None);
    };
    match &stop.place {
        Place::Relay => failed("relay", &stop.why),
        Place::Site => failed(way.site.as_str(), &stop.why),
        Place::Pacs(leg) => failed(&format!("{} {}", way.ae_title, leg.words()), &stop.why),
    }
}

/// 0110H, with the leg first: a PACS shows 64 characters at most, and many fewer.
fn failed(leg: &str, why: &str) -> (Status, Option<String>) {
    let ascii = |c: char| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' };
    let comment = format!("{leg}: {why}")
        .chars()
        .take(COMMENT_LEN_MAX)
        .map(ascii)
        .collect();
    (Status::PROCESSING_FAILURE, Some(comment))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::far::Stopped;
    use super::report::Leg;
    use super::*;
    use crate::testing::{Edge, proposal, site, title};

    const TOML: &str = "[[route]]\ncalled_ae_title = \"LOCAL\"\nto = \"b/P\"\n\
                        [[route]]\ncalled_ae_title = \"WHOLE\"\nto = \"b/P\"\necho = \"end-to-end\"\n";

    #[tokio::test]
    async fn without_a_link_a_route_that_is_about_here_is_well_and_one_that_is_about_there_names_the_relay() {
        let edge = Edge::new("a", TOML);
        let answered = answer(&edge.shared, &proposal("PACS_A", "LOCAL")).await;
        assert_eq!(answered, (Status::SUCCESS, None));
        let (status, comment) = answer(&edge.shared, &proposal("PACS_A", "WHOLE")).await;
        assert_eq!(status, Status::PROCESSING_FAILURE);
        assert_eq!(comment.as_deref(), Some("relay: the link is not up yet"));
        assert_eq!(edge.sent().await, [], "nothing waits for the link");
    }

    #[test]
    fn a_comment_names_the_leg_within_64_characters_of_ascii() {
        let stop = |place| Stopped {
            place,
            why: "Grüße\n".repeat(30),
            remedy: String::new(),
        };
        for (place, begins) in [
            (Place::Relay, "relay: "),
            (Place::Site, "st-mary: "),
            (Place::Pacs(Leg::Associate), "PACS_B associate: "),
        ] {
            let way = Way {
                site: site("st-mary"),
                ae_title: title("PACS_B"),
                link: None,
                acked: None,
                there_and_back: None,
                pacs: None,
                stopped: Some(stop(place)),
                took: Duration::ZERO,
            };
            let (_, comment) = of_way(&way);
            let comment = comment.unwrap();
            assert!(comment.starts_with(begins), "{comment}");
            assert!(comment.len() == COMMENT_LEN_MAX && comment.is_ascii(), "{comment}");
        }
    }
}
