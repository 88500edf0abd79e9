//! An e-mail over SMTP. The server's answer to the message counts.

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use serde_json::Value;

use super::channel::causes;
use super::told::Telling;
use crate::config::{Email, Security, read_secret};

/// Longest subject in characters.
const SUBJECT_MAX: usize = 120;

pub(super) async fn tell(email: &Email, telling: &Telling) -> Result<String, String> {
    let message = message(email, telling)?;
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.host)
        .port(email.port)
        .hello_name(ClientId::Domain(email.from.email.domain().to_owned()))
        .tls(tls(email)?);
    if let Some((user, file)) = &email.login {
        transport = transport.credentials(Credentials::new(user.clone(), read_secret(file)?));
    }
    let response = transport.build().send(message).await.map_err(|error| causes(&error))?;
    let said = response.first_line().unwrap_or_default();
    Ok(format!("answered {} {said}", response.code()))
}

fn tls(email: &Email) -> Result<Tls, String> {
    if email.security == Security::None {
        return Ok(Tls::None);
    }
    let mut parameters = TlsParameters::builder(email.host.clone());
    if let Some(pem) = &email.trust {
        let certificate = Certificate::from_pem(pem).map_err(|error| causes(&error))?;
        parameters = parameters
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate);
    }
    let parameters = parameters.build_rustls().map_err(|error| causes(&error))?;
    Ok(match email.security {
        Security::Tls => Tls::Wrapper(parameters),
        Security::StartTls | Security::None => Tls::Required(parameters),
    })
}

fn message(email: &Email, telling: &Telling) -> Result<Message, String> {
    let subject = format!("[packhorse {}] {}: {}", telling.site, telling.kind, telling.what);
    // Told twice, it has the same id, and a mailbox shows it once.
    let id = format!("<{}@{}.packhorse>", telling.id, telling.site);
    let automatic = HeaderValue::new(
        HeaderName::new_from_ascii_str("Auto-Submitted"),
        "auto-generated".to_owned(),
    );
    let mut message = Message::builder()
        .from(email.from.clone())
        .subject(subject.chars().take(SUBJECT_MAX).collect::<String>())
        .message_id(Some(id))
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN);
    for to in &email.to {
        message = message.to(to.clone());
    }
    message.body(text(telling)).map_err(|error| causes(&error))
}

fn text(telling: &Telling) -> String {
    let mut lines = vec![telling.what.clone(), String::new()];
    if !telling.remedy.is_empty() {
        lines.extend([format!("To do: {}", telling.remedy), String::new()]);
    }
    let mut row = |name: &str, value: &str| lines.push(format!("  {name:<16} {value}"));
    row("kind", &telling.kind);
    row("site", &telling.site);
    row("at", &telling.at);
    for (name, value) in &telling.fields {
        match value {
            Value::String(text) => row(name, text),
            Value::Null => {}
            other => row(name, &other.to_string()),
        }
    }
    if let Some(patient) = &telling.patient {
        row("patient id", &patient.patient_id);
        row("patient name", &patient.patient_name);
        row("accession", &patient.accession_number);
        row("study date", &patient.study_date);
        row("description", &patient.study_description);
    }
    row("id", &telling.id);
    lines.join("\n") + "\n"
}
