//! Events of the program as lines: the formatter hands each over in one piece, and it is escaped and put into its lane.

use std::io::{self, Write};
use std::sync::Arc;

use tracing_subscriber::fmt::MakeWriter;

use super::escape::escape;
use super::lane::Lane;

/// Takes lines and never waits for a reader.
#[derive(Clone)]
pub(super) struct Lines(pub(super) Arc<Lane>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(&escape(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Lines;

    fn make_writer(&self) -> Lines {
        self.clone()
    }
}
