//! The use cases over the real memory store, with real keys and a clock that the tests move.

mod house;
mod login;
mod login_form;
mod logout;
mod logout_all;
mod read_only;
mod refresh;
mod refresh_faults;
mod removed;
mod rig;
mod transport;
