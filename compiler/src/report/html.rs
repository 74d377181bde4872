//! One self-contained HTML page: text and figures in one file that can be sent on.

/// A part of a page: its heading, text as it was printed, and figures as SVG documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Above it.
    pub heading: String,
    /// A table or lines, in letters of one width.
    pub text: String,
    /// Below the text.
    pub figures: Vec<String>,
}

/// A page with a title, a table as plain text, and figures as SVG documents.
pub fn html_page(title: &str, table: &str, figures: &[&str]) -> String {
    let body = format!("<pre>{}</pre>\n{}", escape(table), inline(figures.iter().copied()));
    page(title, &body)
}

/// A page of several parts, with links to each at its top.
pub fn html_report(title: &str, sections: &[Section]) -> String {
    let links = sections.iter().enumerate().map(|(i, s)| format!("<li><a href=\"#part{i}\">{}</a></li>\n", escape(&s.heading)));
    let parts = sections.iter().enumerate().map(|(i, s)| {
        let figures = inline(s.figures.iter().map(String::as_str));
        format!("<h2 id=\"part{i}\">{}</h2>\n<pre>{}</pre>\n{figures}", escape(&s.heading), escape(&s.text))
    });
    page(title, &format!("<ul>\n{}</ul>\n{}", links.collect::<String>(), parts.collect::<String>()))
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         pre{{overflow-x:auto;background:#f6f6f6;padding:1rem}}figure{{margin:2rem 0}}svg{{max-width:100%;height:auto}}</style>\n\
         <h1>{0}</h1>\n{body}</html>\n",
        escape(title),
    )
}

fn inline<'a>(figures: impl Iterator<Item = &'a str>) -> String {
    figures.map(|svg| format!("<figure>{}</figure>\n", without_prologue(svg))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An XML declaration is not allowed inside a page.
fn without_prologue(svg: &str) -> &str {
    svg.find("<svg").map_or(svg, |at| &svg[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_figures_are_inline() {
        let page = html_page("a < b", "x & y", &["<?xml version=\"1.0\"?>\n<svg></svg>"]);
        assert!(page.contains("<h1>a &lt; b</h1>") && page.contains("x &amp; y") && page.contains("<figure><svg></svg></figure>"));
        assert!(!page.contains("<?xml"));
    }

    #[test]
    fn parts_are_linked_and_escaped() {
        let part = |heading: &str| Section { heading: heading.into(), text: "1 < 2".into(), figures: vec!["<svg></svg>".into()] };
        let page = html_report("all", &[part("a & b"), part("c")]);
        assert!(page.contains("<a href=\"#part1\">c</a>") && page.contains("<h2 id=\"part0\">a &amp; b</h2>"));
        assert_eq!((page.matches("1 &lt; 2").count(), page.matches("<figure>").count()), (2, 2));
    }
}
