//! A POST of JSON. The answer counts: 2xx is told.

use std::path::Path;
use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use reqwest::{Client, Response, Url, redirect};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::channel::causes;
use super::told::Telling;
use crate::config::read_secret;
use crate::gateway::BUILD;

/// Characters of a refusal's body that are shown.
const SHOWN_MAX: usize = 200;

pub(super) async fn tell(
    url: &Url,
    trust: Option<&[CertificateDer<'static>]>,
    authorization: Option<&Path>,
    telling: &Telling,
) -> Result<String, String> {
    // Made anew each time: notices are rare, and the system's roots change without us.
    let client = client(trust)?;
    let mut request = client
        .post(url.clone())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, BUILD)
        .header("Idempotency-Key", &telling.id)
        .body(telling.to_bytes());
    if let Some(file) = authorization {
        let mut value = HeaderValue::from_str(&read_secret(file)?)
            .map_err(|_| format!("{} holds what no header can be", file.display()))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    // Its path may be a key.
    let response = request.send().await.map_err(|error| causes(&error.without_url()))?;
    let status = response.status();
    if status.is_success() {
        Ok(format!("answered {status}"))
    } else if status.is_redirection() {
        Err(format!(
            "answered {status}: it has moved; write the address it leads to"
        ))
    } else {
        Err(format!("answered {status}{}", said(response).await))
    }
}

/// The beginning of what a refusal says.
async fn said(mut response: Response) -> String {
    let Ok(Some(chunk)) = response.chunk().await else {
        return String::new();
    };
    let text = String::from_utf8_lossy(chunk.get(..SHOWN_MAX).unwrap_or(&chunk))
        .trim()
        .to_owned();
    if text.is_empty() { text } else { format!(": {text}") }
}

fn client(trust: Option<&[CertificateDer<'static>]>) -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    match trust {
        Some(trusted) => {
            for certificate in trusted {
                roots
                    .add(certificate.clone())
                    .map_err(|error| format!("trust: {error}"))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(redirect::Policy::none())
        .build();
    client.map_err(|error| causes(&error))
}
