//! What must still be true when parts of Drover are killed, cut off, filled up or told lies: applying again
//! converges, nothing runs twice, and whoever asks is told what happened.

mod certificates;
mod delayed;
mod download;
mod fleet;
mod hosts;
mod interrupts;
mod kills;
mod locks;
mod lost;
mod running;
