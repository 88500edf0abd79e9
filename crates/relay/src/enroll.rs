//! Join and renew requests as they come in.

use std::sync::Arc;

use packhorse_identity::{AttemptLimiter, EnrollError, Enroller};
use packhorse_transport::Exchange;

use crate::sites::Directory;

/// What answers exchanges.
#[derive(Debug)]
pub(crate) struct Enrolment {
    pub(crate) enroller: Enroller,
    pub(crate) limiter: AttemptLimiter,
    pub(crate) directory: Arc<Directory>,
}

impl Enrolment {
    pub(crate) async fn answer(&self, exchange: Exchange) {
        let (address, now) = (exchange.remote_address, tokio::time::Instant::now().into_std());
        let answer = if self.limiter.may_try(address.ip(), now) {
            let (answer, error) = self.enroller.handle(&exchange.request, &exchange.exporter).await;
            match error {
                Some(error) => {
                    tracing::warn!(%address, %error, "a join or renewal is refused");
                    self.limiter.failed(address.ip(), now);
                }
                None => tracing::info!(%address, "a certificate is issued"),
            }
            answer
        } else {
            self.enroller.refuse(EnrollError::TooMany)
        };
        // A new site may be a destination from now on.
        if let Err(error) = self.directory.refresh().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the registry cannot be read");
        }
        if let Err(error) = exchange.respond(answer).await {
            tracing::info!(%address, error = &error as &dyn std::error::Error, "an answer did not get there");
        }
    }
}
