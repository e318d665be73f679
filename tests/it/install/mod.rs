//! The setup of an installation: the doctor, inspection, privileges, topology.

mod doctor;
mod inspection;
pub(crate) mod privileges;
mod topology;
