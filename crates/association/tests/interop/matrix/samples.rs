//! What goes through the cells. Each cell has instances of its own, for the peers keep them all.

use packhorse_dicom::part10;
use packhorse_testkit::instances::{ImageSize, Instance, Study};
use packhorse_testkit::peers::sha256;

pub(crate) fn ct(cell: &str) -> Vec<Instance> {
    vec![study(cell).ct_slice(1, 1, ImageSize::default())]
}

pub(crate) fn raw_data(cell: &str) -> Vec<Instance> {
    vec![study(cell).raw_data(1, 1, 5001)]
}

pub(crate) fn ct_raw_data_ct(cell: &str) -> Vec<Instance> {
    let study = study(cell);
    let ct = |number| study.ct_slice(1, number, ImageSize::default());
    vec![ct(1), study.raw_data(2, 1, 5001), ct(2)]
}

pub(crate) fn two_syntaxes(cell: &str) -> Vec<Instance> {
    let study = study(cell);
    vec![
        study.ct_slice(1, 1, ImageSize::default()),
        study.implicit().ct_slice(1, 2, ImageSize::default()),
    ]
}

/// Nested sequences of undefined length: what is written again shows here first.
pub(crate) fn dose_report(cell: &str) -> Vec<Instance> {
    vec![study(cell).dose_sr(1, 1)]
}

/// 2 MiB: much of it is still to come when the association is aborted.
pub(crate) fn large(cell: &str) -> Vec<Instance> {
    vec![study(cell).ct_slice(1, 1, ImageSize::square(1024))]
}

fn study(cell: &str) -> Study {
    Study::new(&format!("matrix/{cell}"))
}

/// SHA-256 of the data set in a file; of the whole file where it has no file meta information.
pub(crate) fn digest(file: &[u8]) -> String {
    let offset = part10::read_file_meta(file).map_or(0, |meta| usize::try_from(meta.data_set_offset).unwrap());
    sha256(&file[offset..])
}
