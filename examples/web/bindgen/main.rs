//! `bindgen PROGRAM.wasm DIR`: what wasm-bindgen's command line does for a page, without that command line's own dependencies.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, folder] = &arguments[..] else {
        eprintln!("usage: bindgen PROGRAM.wasm DIR");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(program).typescript(false).omit_default_module_path(false);
    let done = bindgen.web(true).and_then(|b| b.generate(folder));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::FAILURE
        }
    }
}
