//! Real DICOM peers (DCMTK, pynetdicom) and scripted ones.
