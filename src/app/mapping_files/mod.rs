//! Mappings as files that a spreadsheet reads and writes.

mod export;
mod import;
mod lines;
mod sheet;

pub(crate) use export::{export, template};
pub(crate) use import::{ImportView, import, imports, preview_import, preview_undo, undo_import};
pub(crate) use lines::ImportFile;
pub(crate) use sheet::Form;

/// What a line of a file is about. A file needs the host and the member of staff of each line, and the
/// company, where that is not said besides.
const COLUMNS: [&str; 10] = [
    "company_id",
    "calcom_host_id",
    "calcom_name",
    "calcom_email",
    "staff_id",
    "staff_name",
    "mapping_source",
    "confidence",
    "is_active",
    "reason",
];

/// What a file may have besides: a template says more, and failed lines say why.
const MORE_COLUMNS: [&str; 3] = ["suggestions", "waiting", "error"];

/// Decisions in one transaction.
const DECISION_CHUNK: usize = 250;
