//! Is the installation set up right?

mod doctor;
mod inspection;
pub(crate) mod privileges;
mod topology;
