//! The machine: what a reader needs to judge the figures, and nothing that names it.

use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::Context as _;

/// A line of Markdown.
pub(crate) fn machine(folder: &Path) -> anyhow::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = kib
        .and_then(|rest| rest.split_whitespace().next())
        .context("MemTotal")?;
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(format!(
        "{} cores, {} GiB, Linux {}, {}; load average at the start {}.\n",
        available_parallelism()?,
        kib.parse::<u64>()? >> 20,
        kernel.split(['-', '\n']).next().unwrap_or_default(),
        file_system(folder)?,
        load.split_whitespace().next().unwrap_or("unknown"),
    ))
}

/// Kind of the file system a folder is on: of the mount with the longest path that leads there.
fn file_system(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut columns = line.split(' ').skip(1);
        let (path, kind) = (columns.next()?, columns.next()?);
        folder.starts_with(path).then_some((path.len(), kind))
    });
    let nearest = mounts.max_by_key(|(length, _)| *length);
    Ok(nearest.map_or("an unknown file system", |(_, kind)| kind).to_owned())
}
