//! The heart: what becomes of a delivery. Decode, load, plan and commit a batch; what is tried again, and what
//! is a dead letter; and the same without writing.
