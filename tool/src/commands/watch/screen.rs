// SPDX-License-Identifier: MPL-2.0
//! The screen of `tdlink watch`.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Sparkline, Widget};

use super::state::{COARSE, Watched};
use crate::buffer::describe::age;
use crate::measure::EDGES_US;

/// Rows above and below the middle.
const HEAD: u16 = 4;
const RATES: u16 = 6;
/// Columns of the histogram.
const HISTOGRAM: u16 = 34;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, watched: &Watched) {
    let [head, middle, rates, foot] = Layout::vertical([
        Constraint::Length(HEAD),
        Constraint::Min(3),
        Constraint::Length(RATES),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [picture, histogram] = Layout::horizontal([Constraint::Min(10), Constraint::Length(HISTOGRAM)]).areas(middle);
    frame.render_widget(heading(watched), head);
    let block = Block::bordered().title(" picture ");
    let inside = block.inner(picture);
    frame.render_widget(block, picture);
    match &watched.coarse {
        Some(pixels) => frame.render_widget(Coarse(pixels), inside),
        None => frame.render_widget("no pixels here", inside),
    }
    frame.render_widget(latency(watched).block(Block::bordered().title(" from publication to here ")), histogram);
    let most = watched.rates.iter().max().copied().unwrap_or(0).max(1);
    let room = usize::from(rates.width.saturating_sub(2));
    let newest: Vec<u64> = watched.rates.iter().copied().skip(watched.rates.len().saturating_sub(room)).collect();
    let title = format!(" frames a second, the last {} s, at most {most} ", newest.len());
    let line = Sparkline::default().data(&newest).max(most).style(Style::new().fg(Color::Cyan));
    frame.render_widget(line.block(Block::bordered().title(title)), rates);
    frame.render_widget(Line::from("q ends").dim(), foot);
}

fn heading(watched: &Watched) -> Paragraph<'static> {
    let rate = watched.summary.map_or(0.0, |summary| summary.rate);
    let bandwidth = rate * watched.frame.and_then(|frame| frame.bytes()).unwrap_or(0) as f64 / 1e6;
    let jitter = watched.summary.map_or(0.0, |summary| summary.jitter);
    let unknown = || "?".to_owned();
    let frame = watched.frame.map_or_else(unknown, |frame| frame.to_string());
    let producer = watched.producer.clone().unwrap_or_else(unknown);
    let readers = watched.consumers.map_or_else(unknown, |consumers| consumers.to_string());
    let since = watched.last.map_or_else(|| "never".to_owned(), |last| format!("{} ago", age(last.elapsed())));
    let state = match &watched.gone {
        Some(why) => Span::from(format!("gone: {why}; waiting for another producer")).red().bold(),
        None => Span::from(format!("last frame {since}")),
    };
    let losses = watched.losses;
    let lost = Span::from(format!("{} skipped  {} torn", losses.skipped, losses.torn));
    let lost = if losses.skipped + losses.torn > 0 { lost.yellow() } else { lost };
    Paragraph::new(vec![
        Line::from(vec![Span::from(watched.name.clone()).bold(), format!("  {}  {frame}", watched.protocol).into()]),
        Line::from(format!("{rate:.2} Hz  {bandwidth:.1} MB/s  jitter {jitter:.2} ms  {} frames", watched.frames)),
        Line::from(vec![lost, format!("  written by {producer}  {readers} other readers").into()]),
        Line::from(state),
    ])
}

/// One line for each bucket.
fn latency(watched: &Watched) -> Paragraph<'static> {
    let most = watched.latency.buckets.iter().max().copied().unwrap_or(0).max(1);
    let room = u64::from(HISTOGRAM) - 22;
    let name = |us: u64| if us < 1000 { format!("{us} µs") } else { format!("{} ms", us / 1000) };
    let names = EDGES_US.iter().map(|edge| format!("≤ {}", name(*edge))).chain(["longer".to_owned()]);
    let bar = |(name, frames): (String, u64)| {
        let length = (frames * room).div_ceil(most) as usize;
        Line::from(vec![
            format!("{name:>9} ").into(),
            Span::from("█".repeat(length)).cyan(),
            format!("{:>width$}", frames, width = room as usize - length + 9).into(),
        ])
    };
    Paragraph::new(names.zip(watched.latency.buckets).map(bar).collect::<Vec<_>>())
}

/// Two pixels a cell, one above the other, as large as its place lets it be.
struct Coarse<'a>(&'a [[u8; 3]]);

impl Widget for Coarse<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (wide, high) = (usize::from(COARSE.0), usize::from(COARSE.1));
        let (columns, rows) = (usize::from(area.width), usize::from(area.height) * 2);
        // Its shape stays what it is: a cell is about twice as high as it is wide.
        let scale = (columns as f64 / wide as f64).min(rows as f64 / high as f64);
        let (columns, rows) = ((wide as f64 * scale) as usize, (high as f64 * scale) as usize / 2 * 2);
        let colour = |x: usize, y: usize| {
            let at = (y * high / rows.max(1)) * wide + x * wide / columns.max(1);
            let [red, green, blue] = self.0.get(at).copied().unwrap_or_default();
            Color::Rgb(red, green, blue)
        };
        for row in 0..rows / 2 {
            for column in 0..columns {
                let style = Style::new().fg(colour(column, 2 * row)).bg(colour(column, 2 * row + 1));
                let (x, y) = (area.x + column as u16, area.y + row as u16);
                buffer[(x, y)].set_char('▀').set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use tdlink_core::frame::{FrameDesc, Origin, SampleType};

    use super::*;
    use crate::buffer::picture::{Picture, rgba};
    use crate::buffer::source::Losses;
    use crate::card;

    fn text(watched: &Watched, width: u16, height: u16) -> (String, Buffer) {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, watched)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let lines = buffer.content.chunks(usize::from(width));
        let lines: Vec<String> = lines.map(|line| line.iter().map(|cell| cell.symbol()).collect()).collect();
        (lines.join("\n"), buffer)
    }

    fn watched() -> Watched {
        let (width, height) = (160, 90);
        let bytes = card::draw(width, height, 0).into_iter().flatten().map(|value| (value * 255.0) as u8).collect();
        let picture = Picture { width, height, format: rgba(SampleType::U8), bytes };
        let desc = FrameDesc { width, height, format: picture.format, origin: Origin::BottomLeft };
        let mut watched = Watched::new("no-such-buffer");
        let losses = Losses { skipped: 3, torn: 1 };
        for number in 0..121u64 {
            let published = number * 16_666_667;
            watched.frame(&desc, losses, published, published + 70_000, Some(&picture)).unwrap();
            if number % 60 == 0 {
                watched.second();
            }
        }
        watched
    }

    #[test]
    fn the_screen_shows_rate_losses_latency_and_the_picture() {
        let (screen, buffer) = text(&watched(), 100, 40);
        println!("{screen}");
        for wanted in
            ["no-such-buffer", "160×90", "60.00 Hz", "3.5 MB/s", "3 skipped  1 torn", "121 frames", "≤ 100 µs", "120"]
        {
            assert!(screen.contains(wanted), "{wanted:?} is missing");
        }
        // The red bar, the sixth of eight, stands in the picture at its place.
        let red = buffer.content.iter().filter(|cell| cell.fg == Color::Rgb(255, 0, 0) && cell.symbol() == "▀").count();
        assert!(red > 10, "{red} red cells");
    }

    #[test]
    fn a_small_terminal_is_no_panic_and_a_producer_that_has_gone_is_said() {
        let mut watched = watched();
        watched.gone = Some("the producer has died".to_owned());
        let (screen, _) = text(&watched, 100, 30);
        assert!(screen.contains("gone: the producer has died"), "{screen}");
        for (width, height) in [(1, 1), (5, 3), (20, 8), (300, 5)] {
            text(&watched, width, height);
        }
    }
}
