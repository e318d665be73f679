//! End-to-end tests: a booking passes through the real binary, a real queue and a real database, without
//! faults (`full_path`, `clocks`) and with faults (`load`, `outages`, `spooled`, `stopping`).

mod scenarios;
mod full_path;
mod clocks;
mod load;
mod outages;
mod spooled;
mod stopping;
