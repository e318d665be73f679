//! Whole journeys: real processes of the real program, on real queues and databases, in good
//! times (`way`, `clocks`) and bad ones (`load`, `outages`, `spooled`, `stopping`).

mod scenarios;
mod way;
mod clocks;
mod load;
mod outages;
mod spooled;
mod stopping;
