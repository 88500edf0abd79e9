//! How a channel is told.

use std::fmt;

use super::told::Telling;
use super::{command, email, line, webhook};
use crate::config::{Channel, Way};
use crate::shared::Shared;

/// Tells `telling` on `channel`. What it answered.
///
/// # Errors
/// Why it was not told, in words for an administrator.
///
/// # Cancel safety
/// Dropped while it waits, it may have been told or not.
pub(crate) async fn tell(shared: &Shared, channel: &Channel, telling: &Telling) -> Result<String, String> {
    let telling = if channel.include_patient {
        telling.clone().with_patient(shared).await
    } else {
        telling.clone()
    };
    let told = async {
        match &channel.way {
            Way::Webhook {
                url,
                trust,
                authorization,
            } => webhook::tell(url, trust.as_deref(), authorization.as_deref(), &telling).await,
            Way::Email(email) => email::tell(email, &telling).await,
            Way::Command { program, arguments } => command::tell(program, arguments, &telling).await,
        }
    };
    let told = tokio::time::timeout(channel.timeout, told).await;
    let told = told.unwrap_or_else(|_| Err(format!("no answer within {:?}", channel.timeout)));
    told.map(|answer| line(&answer)).map_err(|why| line(&why))
}

/// Where a channel leads, without anything secret: the path of a webhook may be a key.
pub(crate) fn address(way: &Way) -> String {
    match way {
        Way::Webhook { url, .. } => {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            format!(
                "webhook at {}://{}{port}",
                url.scheme(),
                url.host_str().unwrap_or_default()
            )
        }
        Way::Email(email) => {
            let to: Vec<_> = email.to.iter().map(|to| to.email.to_string()).collect();
            format!("e-mail to {} by {}:{}", to.join(", "), email.host, email.port)
        }
        Way::Command { program, .. } => format!("command {}", program.display()),
    }
}

/// An error with its causes, of which those that only repeat the one above are left out.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            fmt::Write::write_fmt(&mut said, format_args!(": {more}")).unwrap_or_default();
        }
        cause = error.source();
    }
    said
}
