//! Whole journeys: real processes of the real program, on real queues and databases, in good
//! times (`way`) and bad ones (`load`, `outages`, `stopping`).

mod scenarios;
mod way;
mod load;
mod outages;
mod stopping;
