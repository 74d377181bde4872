//! One self-contained HTML page: text and figures in one file that can be sent on.

/// A page with a title, a table as plain text, and figures as SVG documents.
pub fn html_page(title: &str, table: &str, figures: &[&str]) -> String {
    let figures: String = figures.iter().map(|svg| format!("<figure>{}</figure>\n", without_prologue(svg))).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{0}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         pre{{overflow-x:auto;background:#f6f6f6;padding:1rem}}figure{{margin:2rem 0}}svg{{max-width:100%;height:auto}}</style>\n\
         <h1>{0}</h1>\n<pre>{1}</pre>\n{figures}</html>\n",
        escape(title),
        escape(table)
    )
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
}
