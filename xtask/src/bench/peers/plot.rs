// SPDX-License-Identifier: MPL-2.0
//! Bars on a logarithmic axis, as SVG: a panel for each question, a row for each contestant, a colour for each size.

use std::fmt::Write;

use super::report::figure;

/// One bar: from the axis to `value`, and a thin line on to `until`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    pub value: f64,
    pub until: f64,
}

#[derive(Debug)]
pub struct Row {
    pub label: String,
    /// Ours stand out.
    pub ours: bool,
    /// One for each series; nothing where nothing was measured.
    pub bars: Vec<Option<Bar>>,
}

#[derive(Debug)]
pub struct Panel {
    pub title: String,
    pub rows: Vec<Row>,
}

#[derive(Debug)]
pub struct Plot<'a> {
    pub title: &'a str,
    pub subtitle: &'a str,
    /// What the axis shows, with its unit.
    pub axis: &'a str,
    pub series: &'a [&'a str],
    pub panels: &'a [Panel],
}

/// Told apart by those who see no red or green.
const COLOURS: [&str; 3] = ["#0072b2", "#e69f00", "#009e73"];
const LEFT: f64 = 250.0;
const AXIS: f64 = 560.0;
const RIGHT: f64 = 110.0;
const BAR: f64 = 11.0;
const TOP: f64 = 96.0;
/// Beside a panel's rows: its title, its axis and the gap to the next.
const PANEL_HEAD: f64 = 26.0;
const PANEL_FOOT: f64 = 58.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The whole decades around all values.
fn decades<'a>(panels: impl Iterator<Item = &'a Panel>) -> (i32, i32) {
    let bars = panels.flat_map(|panel| &panel.rows).flat_map(|row| row.bars.iter().flatten());
    // Nothing has no place on a logarithmic axis; its bar is as short as a bar can be.
    let bars = bars.filter(|bar| bar.value > 0.0);
    let ends = bars
        .fold((f64::INFINITY, 0.0f64), |(least, most), bar| (least.min(bar.value), most.max(bar.value).max(bar.until)));
    if ends.0.is_infinite() {
        return (0, 1);
    }
    // A bar that ended at the axis would not be seen.
    let from = (ends.0 / 1.2).log10().floor() as i32;
    (from, (ends.1.log10().ceil() as i32).max(from + 1))
}

fn text(svg: &mut String, x: f64, y: f64, style: &str, content: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>", escaped(content));
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" {style}/>",
        from.0, from.1, to.0, to.1
    );
}

impl Plot<'_> {
    fn row_height(&self) -> f64 {
        BAR * self.series.len() as f64 + 9.0
    }

    pub fn svg(&self) -> String {
        let (from, to) = decades(self.panels.iter());
        let at = |value: f64| {
            let share = (value.max(f64::MIN_POSITIVE).log10() - f64::from(from)) / f64::from(to - from);
            LEFT + AXIS * share.clamp(0.0, 1.0)
        };
        let heights = self.panels.iter().map(|panel| self.panel_height(panel));
        let (width, height) = (LEFT + AXIS + RIGHT, TOP + heights.sum::<f64>());
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222222\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, 16.0, 28.0, "font-size=\"18\" font-weight=\"bold\"", self.title);
        text(&mut svg, 16.0, 48.0, "fill=\"#555555\" font-size=\"11\"", self.subtitle);
        for (index, name) in self.series.iter().enumerate() {
            let x = LEFT + 110.0 * index as f64;
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(svg, "<rect x=\"{x:.1}\" y=\"62\" width=\"14\" height=\"11\" fill=\"{colour}\"/>");
            text(&mut svg, x + 20.0, 72.0, "", name);
        }
        let mut y = TOP;
        for panel in self.panels {
            self.panel(&mut svg, panel, y, (from, to), &at);
            y += self.panel_height(panel);
        }
        svg += "</svg>\n";
        svg
    }

    fn panel_height(&self, panel: &Panel) -> f64 {
        PANEL_HEAD + self.row_height() * panel.rows.len() as f64 + PANEL_FOOT
    }

    fn panel(&self, svg: &mut String, panel: &Panel, top: f64, (from, to): (i32, i32), at: &impl Fn(f64) -> f64) {
        text(svg, 16.0, top + 12.0, "font-size=\"14\" font-weight=\"bold\"", &panel.title);
        let first = top + PANEL_HEAD;
        let bottom = first + self.row_height() * panel.rows.len() as f64;
        for decade in from..=to {
            let x = at(10f64.powi(decade));
            line(svg, (x, first - 4.0), (x, bottom), "stroke=\"#cccccc\"");
            let name = if decade < 0 { format!("{}", 10f64.powi(decade)) } else { tick(decade) };
            text(svg, x, bottom + 15.0, "text-anchor=\"middle\" font-size=\"11\"", &name);
            for minor in [2.0, 5.0].into_iter().filter(|_| decade < to) {
                let x = at(10f64.powi(decade) * minor);
                line(svg, (x, first - 4.0), (x, bottom), "stroke=\"#eeeeee\"");
            }
        }
        text(svg, LEFT + AXIS / 2.0, bottom + 32.0, "text-anchor=\"middle\" fill=\"#555555\"", self.axis);
        for (index, row) in panel.rows.iter().enumerate() {
            let y = first + self.row_height() * index as f64;
            let weight = if row.ours { "font-weight=\"bold\"" } else { "" };
            let middle = y + BAR * self.series.len() as f64 / 2.0 + 4.0;
            text(svg, LEFT - 10.0, middle, &format!("text-anchor=\"end\" {weight}"), &row.label);
            for (series, bar) in row.bars.iter().enumerate() {
                let Some(bar) = bar else { continue };
                let y = y + BAR * series as f64;
                let (end, until) = (at(bar.value), at(bar.until));
                let colour = COLOURS[series % COLOURS.len()];
                let _ = writeln!(
                    svg,
                    "<rect x=\"{LEFT:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
                    (end - LEFT).max(1.0),
                    BAR - 1.5
                );
                let centre = y + (BAR - 1.5) / 2.0;
                let mut label = figure(bar.value);
                if until > end {
                    let style = format!("stroke=\"{colour}\" stroke-width=\"2\"");
                    line(svg, (end, centre), (until, centre), &style);
                    line(svg, (until, centre - 4.0), (until, centre + 4.0), &style);
                    label += &format!(" / {}", figure(bar.until));
                }
                text(svg, until.max(end) + 5.0, centre + 3.5, "font-size=\"10\"", &label);
            }
        }
    }
}

fn tick(decade: i32) -> String {
    figure(10f64.powi(decade)).split('.').next().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(bars: Vec<Option<Bar>>) -> Panel {
        Panel { title: "one".into(), rows: vec![Row { label: "a < b".into(), ours: true, bars }] }
    }

    #[test]
    fn the_axis_spans_whole_decades_around_all_values() {
        let bar = |value, until| Some(Bar { value, until });
        assert_eq!(decades([panel(vec![bar(23.0, 770.0), None])].iter()), (1, 3));
        assert_eq!(decades([panel(vec![bar(10.0, 10.0)])].iter()), (0, 1));
        assert_eq!(decades([panel(vec![bar(0.0, 0.0), bar(200.0, 300.0)])].iter()), (2, 3));
        assert_eq!(decades([panel(vec![None])].iter()), (0, 1));
    }

    #[test]
    fn a_plot_names_its_axis_its_series_and_its_rows() {
        let panels = [panel(vec![Some(Bar { value: 20.0, until: 77.0 }), None])];
        let plot = Plot { title: "t", subtitle: "s", axis: "latency, µs", series: &["720p", "4K"], panels: &panels };
        let svg = plot.svg();
        for expected in [">latency, µs<", ">720p<", ">4K<", ">a &lt; b<", ">20.0 / 77.0<", ">100<"] {
            assert!(svg.contains(expected), "{expected} in {svg}");
        }
        assert_eq!(svg.matches("fill=\"#0072b2\"").count(), 2);
    }
}
