//! Orthanc, as a source and as a target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::{Folder, HttpError, Peer, PeerError, find, http, io_error, start_on_port};
use crate::process::{Process, READY_WITHIN, free_port};

/// A DICOM node that Orthanc knows, on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Modality {
    /// Its name in the REST interface.
    pub name: String,
    /// Title Orthanc calls it by.
    pub ae_title: String,
    /// Its port.
    pub port: u16,
}

/// How Orthanc behaves.
#[derive(Clone, Debug)]
pub struct OrthancOptions {
    /// DICOM port; `None`: a free one.
    pub port: Option<u16>,
    /// Its own title.
    pub ae_title: String,
    /// Nodes it can send to.
    pub modalities: Vec<Modality>,
    /// More of its configuration, which goes before ours.
    pub more: Map<String, Value>,
}

impl Default for OrthancOptions {
    /// Title `ORTHANC`, on a free port, knowing nobody.
    fn default() -> Self {
        Self {
            port: None,
            ae_title: "ORTHANC".to_owned(),
            modalities: Vec::new(),
            more: Map::new(),
        }
    }
}

/// An Orthanc with an empty store of its own; killed when dropped. Its REST interface is on 127.0.0.1 only.
#[derive(Debug)]
pub struct Orthanc {
    process: Process,
    port: u16,
    http_port: u16,
    _folder: Folder,
}

impl Orthanc {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it is missing, or does not come up; with what it said.
    pub fn start(options: &OrthancOptions) -> Result<Self, PeerError> {
        let program = find(Peer::Orthanc).ok_or(PeerError::Missing(Peer::Orthanc))?;
        let folder = Folder::new(None)?;
        let (process, port, http_port) = start_on_port(options.port, |port| {
            let http_port = free_port().map_err(|source| io_error(Path::new("a free port"), source))?;
            let configuration = folder.path.join("orthanc.json");
            let written = options.configuration(&folder.path, port, http_port).to_string();
            fs::write(&configuration, written).map_err(|source| io_error(&configuration, source))?;
            let mut process = Process::spawn(Command::new(&program).arg(&configuration))?;
            process.listens(http_port, READY_WITHIN)?;
            process.listens(port, READY_WITHIN)?;
            Ok((process, port, http_port))
        })?;
        Ok(Self {
            process,
            port,
            http_port,
            _folder: folder,
        })
    }

    /// Its DICOM port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its process, to stop or kill it, or to read what it said.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Takes a file into its store; its own id of the instance.
    ///
    /// # Errors
    /// When the file cannot be read, or Orthanc does not take it.
    pub fn upload(&self, file: &Path) -> Result<String, PeerError> {
        let bytes = fs::read(file).map_err(|source| io_error(file, source))?;
        let answer = self.post("/instances", &bytes)?;
        Ok(text(&answer, "ID"))
    }

    /// Sends instances, series or studies, by Orthanc's ids, to a modality, and waits until they are sent.
    ///
    /// # Errors
    /// When one of them could not be sent, in Orthanc's words.
    pub fn store(&self, modality: &str, ids: &[String]) -> Result<Value, PeerError> {
        let order = json!({ "Resources": ids, "Synchronous": true }).to_string();
        self.post(&format!("/modalities/{modality}/store"), order.as_bytes())
    }

    /// The same, going on behind what cannot be sent: how many could not stands in the answer.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn store_permissive(&self, modality: &str, ids: &[String]) -> Result<Value, PeerError> {
        let order = json!({ "Resources": ids, "Synchronous": true, "Permissive": true }).to_string();
        self.post(&format!("/modalities/{modality}/store"), order.as_bytes())
    }

    /// C-ECHO to a modality.
    ///
    /// # Errors
    /// When it is not answered.
    pub fn echo(&self, modality: &str) -> Result<Value, PeerError> {
        self.post(&format!("/modalities/{modality}/echo"), b"{}")
    }

    /// Its ids of all instances it has.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn instances(&self) -> Result<Vec<String>, PeerError> {
        let answer = self.get("/instances")?;
        let ids = answer.as_array().into_iter().flatten();
        Ok(ids.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// SOP Instance UID of an instance it has.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sop_instance_uid(&self, id: &str) -> Result<String, PeerError> {
        let answer = self.get(&format!("/instances/{id}"))?;
        Ok(text(&answer["MainDicomTags"], "SOPInstanceUID"))
    }

    /// An instance as the file it keeps.
    ///
    /// # Errors
    /// When it has none of this id.
    pub fn file(&self, id: &str) -> Result<Vec<u8>, PeerError> {
        let path = format!("/instances/{id}/file");
        Ok(http::request(self.http_port, "GET", &path, b"")?)
    }

    /// GET of its REST interface.
    ///
    /// # Errors
    /// When the answer is not 200, or no JSON.
    pub fn get(&self, path: &str) -> Result<Value, PeerError> {
        self.ask("GET", path, b"")
    }

    /// POST to its REST interface.
    ///
    /// # Errors
    /// When the answer is not 200, or no JSON.
    pub fn post(&self, path: &str, body: &[u8]) -> Result<Value, PeerError> {
        self.ask("POST", path, body)
    }

    fn ask(&self, method: &'static str, path: &str, body: &[u8]) -> Result<Value, PeerError> {
        let answer = http::request(self.http_port, method, path, body)?;
        let parsed = serde_json::from_slice(&answer).map_err(|error| HttpError::Io {
            method,
            path: path.to_owned(),
            source: error.into(),
        });
        Ok(parsed?)
    }
}

impl OrthancOptions {
    fn configuration(&self, folder: &Path, port: u16, http_port: u16) -> Value {
        let modality = |modality: &Modality| {
            let node = json!([modality.ae_title, "127.0.0.1", modality.port]);
            (modality.name.clone(), node)
        };
        let modalities: Map<String, Value> = self.modalities.iter().map(modality).collect();
        let storage: PathBuf = folder.join("storage");
        let mut configuration = json!({
            "Name": "testkit",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "HttpPort": http_port,
            "DicomPort": port,
            "DicomAet": self.ae_title,
            // As Debian ships it: any called title, and a C-STORE from anybody.
            "DicomCheckCalledAet": false,
            "DicomAlwaysAllowEcho": true,
            "DicomAlwaysAllowStore": true,
            "DicomModalities": modalities,
            "DicomTls": false,
        });
        if let Some(configuration) = configuration.as_object_mut() {
            configuration.extend(self.more.clone());
        }
        configuration
    }
}

fn text(object: &Value, key: &str) -> String {
    object[key].as_str().unwrap_or_default().to_owned()
}
