//! How Packhorse names itself to DICOM peers (PS3.7 §D.3.3.2) and in files it writes (PS3.10 §7.1).

/// Implementation class UID, from a UUID (PS3.5 §B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.226463563823479116312866414905427411013";
/// Implementation version name, at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = "PACKHORSE_010";
