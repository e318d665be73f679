//! Whole journeys of a booking: real processes of the real program, on real queues and databases, without
//! faults (`way`, `clocks`) and with faults (`load`, `outages`, `spooled`, `stopping`).

mod scenarios;
mod way;
mod clocks;
mod load;
mod outages;
mod spooled;
mod stopping;
