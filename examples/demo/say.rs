//! What the demo tells the person before it, in colour where that is a terminal.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Instant;

/// Emphasis, by name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ink {
    Bold,
    Dim,
    Green,
    Cyan,
}

pub(crate) fn ink(ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Bold => 1,
        Ink::Dim => 2,
        Ink::Green => 32,
        Ink::Cyan => 36,
    };
    if stdout().is_terminal() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

pub(crate) fn line(text: &str) {
    let _ = writeln!(stdout(), "{text}");
}

/// One line of what is being done, finished when it is.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    since: Instant,
    shown: usize,
}

impl Progress {
    pub(crate) fn begin(what: &str) -> Self {
        let mut progress = Self {
            what: what.to_owned(),
            since: Instant::now(),
            shown: 0,
        };
        progress.at(0, 0);
        progress
    }

    pub(crate) fn at(&mut self, done: usize, of: usize) {
        if stdout().is_terminal() {
            self.shown = (done * 20).checked_div(of).unwrap_or_default().min(20);
            let bar = format!("{}{}", "━".repeat(self.shown), "╌".repeat(20 - self.shown));
            let _ = write!(
                stdout(),
                "\r\u{1b}[K  · {:<13} {}",
                self.what,
                ink(Ink::Dim, &bar)
            );
            let _ = stdout().flush();
        }
    }

    pub(crate) fn end(self, told: &str) {
        let time = self.since.elapsed().as_millis();
        let time = if time < 100 {
            String::new()
        } else {
            format!("  {}.{} s", time / 1000, time % 1000 / 100)
        };
        let back = if stdout().is_terminal() {
            "\r\u{1b}[K"
        } else {
            ""
        };
        line(&format!(
            "{back}  {} {:<13} {told}{}",
            ink(Ink::Green, "✓"),
            self.what,
            ink(Ink::Dim, &time)
        ));
    }
}
