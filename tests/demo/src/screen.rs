//! How does it look?
//!
//! On a terminal, lines that are still moving are drawn again in place; elsewhere a line is written when something is
//! done. Nothing here knows what is shown.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Where the time of a step ends, on a terminal that is wide enough.
const TIME_COLUMN: usize = 92;
const REDRAW: Duration = Duration::from_millis(120);
/// Without a terminal: how often a step that takes long says so.
const STILL: Duration = Duration::from_secs(10);
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Headings.
    Bold,
    /// What matters less.
    Dim,
    /// What is good.
    Green,
    /// What is wrong.
    Red,
    /// What is under way.
    Yellow,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    interactive: bool,
    colour: bool,
    started: Instant,
}

impl Screen {
    /// Interactive where standard input and output are a terminal. `NO_COLOR` is obeyed.
    pub fn new() -> Self {
        let terminal = io::stdout().is_terminal();
        let interactive = terminal && io::stdin().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { interactive, colour, started: Instant::now() }
    }

    /// Says that something is so.
    pub fn good(&self, text: &str) {
        self.line(&format!("  {} {text}", self.ink(Ink::Green, "✓")));
    }

    /// Whether somebody is looking.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// How long it has been since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// `text` in colour, where there is colour.
    pub fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => "1",
            Ink::Dim => "2",
            Ink::Green => "32",
            Ink::Red => "31",
            Ink::Yellow => "33",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Writes a line.
    pub fn line(&self, text: &str) {
        // A reader that went away (`| head`) must not end the demo before it has tidied up.
        let _ = writeln!(io::stdout().lock(), "{text}");
    }

    /// Begins a part of the story.
    pub fn heading(&self, title: &str) {
        self.line("");
        self.line(&self.ink(Ink::Bold, title));
    }

    /// Explains something.
    pub fn note(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("    {}", self.ink(Ink::Dim, line)));
        }
    }

    /// Lists words, as many on a line as fit.
    pub fn words(&self, words: &[String]) {
        let width = TIME_COLUMN.min(self.width());
        let mut line = String::new();
        for word in words {
            if !line.is_empty() && 4 + line.chars().count() + 3 + word.chars().count() > width {
                self.note(&line);
                line.clear();
            }
            let separator = if line.is_empty() { "" } else { " · " };
            line = format!("{line}{separator}{word}");
        }
        self.note(&line);
    }

    /// Shows that `doing` goes on while `work` does, and then how long it took and what `done` says about the result.
    pub async fn step<T>(
        &self,
        doing: &str,
        work: impl Future<Output = Result<T>>,
        done: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let started = Instant::now();
        tokio::pin!(work);
        let mut tick = tokio::time::interval(if self.interactive { REDRAW } else { STILL });
        tick.tick().await;
        let mut turn = 0;
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = tick.tick() => {
                    turn += 1;
                    self.still(doing, started.elapsed(), turn);
                }
            }
        };
        self.clear();
        match &result {
            Ok(value) => self.done(&done(value), started.elapsed()),
            Err(_) => self.timed(Ink::Red, '✗', doing, started.elapsed()),
        }
        result
    }

    /// Says that something is so, and how long it took.
    pub fn done(&self, text: &str, time: Duration) {
        self.timed(Ink::Green, '✓', text, time);
    }

    /// The columns of the terminal; 100 where there is none or it does not say.
    pub fn width(&self) -> usize {
        let size = rustix::termios::tcgetwinsize(io::stdout());
        size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(100)
    }

    /// A line with a sign before it and a time behind it.
    fn timed(&self, ink: Ink, sign: char, text: &str, time: Duration) {
        let time = seconds(time);
        let used = 4 + text.chars().count() + time.chars().count();
        let room = " ".repeat(TIME_COLUMN.min(self.width()).saturating_sub(used).max(2));
        self.line(&format!("  {} {text}{room}{}", self.ink(ink, &sign.to_string()), self.ink(Ink::Dim, &time)));
    }

    fn still(&self, doing: &str, time: Duration, turn: usize) {
        let time = time.as_secs();
        if self.interactive {
            let sign = self.ink(Ink::Yellow, &SPINNER[turn % SPINNER.len()].to_string());
            let text = fit(&format!("  {sign} {doing} … {time} s"), self.width());
            let mut out = io::stdout().lock();
            let _ = write!(out, "\r\x1b[K{text}").and_then(|()| out.flush());
        } else {
            self.line(&format!("    {doing} … {time} s"));
        }
    }

    fn clear(&self) {
        if self.interactive {
            let _ = write!(io::stdout().lock(), "\r\x1b[K");
        }
    }
}

/// Some lines that change while they are shown.
#[derive(Debug)]
pub struct Live<'a> {
    screen: &'a Screen,
    drawn: usize,
    shown: Vec<String>,
}

impl<'a> Live<'a> {
    /// Nothing is shown yet; `shown` is what a reader without a terminal has seen already.
    pub fn new(screen: &'a Screen, shown: Vec<String>) -> Self {
        Self { screen, drawn: 0, shown }
    }

    /// Shows `lines` in place of the ones before. `moving`, such as a clock, is left out where there is no terminal.
    pub fn draw(&mut self, lines: Vec<String>, moving: &str) {
        if self.screen.interactive {
            let width = self.screen.width();
            let mut out = String::new();
            if self.drawn > 0 {
                out.push_str(&format!("\x1b[{}A", self.drawn));
            }
            for line in lines.iter().map(String::as_str).chain([moving]) {
                out.push_str(&format!("\r\x1b[K{}\n", fit(line, width)));
            }
            self.drawn = lines.len() + 1;
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
        } else if lines != self.shown {
            if self.drawn > 0 {
                self.screen.line("");
            }
            self.drawn = lines.len();
            lines.iter().for_each(|line| self.screen.line(line));
        }
        self.shown = lines;
    }

    /// Leaves the lines as they are, without the moving one, and returns them.
    pub fn end(self) -> Vec<String> {
        if self.screen.interactive && self.drawn > 0 {
            let mut stdout = io::stdout().lock();
            let _ = write!(stdout, "\x1b[1A\r\x1b[K").and_then(|()| stdout.flush());
        }
        if self.drawn > 0 {
            self.screen.line("");
        }
        self.shown
    }
}

/// Seconds with one digit, minutes from a minute on.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        whole if whole >= 60 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// `line` without what goes beyond `width` columns: a line that wraps could not be drawn over.
fn fit(line: &str, width: usize) -> String {
    let mut columns = 0;
    let mut escape = false;
    let mut coloured = false;
    let mut out = String::new();
    for c in line.chars() {
        if c == '\x1b' {
            (escape, coloured) = (true, true);
        } else if !escape {
            if columns == width {
                break;
            }
            columns += 1;
        }
        out.push(c);
        if escape && c == 'm' {
            escape = false;
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_at_the_edge_and_colours_take_no_room() {
        assert_eq!(fit("abcdef", 4), "abcd");
        assert_eq!(fit("\x1b[1mab\x1b[0mcdef", 4), "\x1b[1mab\x1b[0mcd\x1b[0m");
    }

    #[test]
    fn a_minute_is_called_a_minute() {
        assert_eq!(seconds(Duration::from_millis(1_240)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(63)), "1 min 03 s");
    }
}
