//! Exports and imports mappings as files for spreadsheets.

mod export;
mod import;
mod lines;
mod sheet;

pub(crate) use export::{export, template};
pub(crate) use import::{ImportView, import, imports, preview_import, preview_undo, undo_import};
pub(crate) use lines::ImportFile;
pub(crate) use sheet::Form;

/// The columns of a file. The host and the member of staff are required, and also the company, unless it is an
/// option of the command.
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

/// Additional columns of templates and of files with failed lines.
const MORE_COLUMNS: [&str; 3] = ["suggestions", "waiting", "error"];

/// The number of decisions in one transaction.
const DECISION_CHUNK: usize = 250;
