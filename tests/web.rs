//! The page of examples/web in a real browser: what WebGPU and wasm compute there is what the CPU executor computes here.
//! Needs chromium and `examples/web/build.sh`; without them a test says so, or fails if THINFER_REQUIRE_WEB=1.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use thinfer::artifact::Dtype;
use thinfer::{Artifact, Device, Form, Forms, Options, Session};
use thinfer_compiler::data::{self, Part};
use thinfer_compiler::import::Checkpoint;
use thinfer_compiler::lower::{self, Factored};
use thinfer_compiler::rank::Policy;
use thinfer_compiler::{graph, zoo};

/// How long a browser may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(480);
/// The largest difference, as a share of the largest output.
const ALLOWED: f64 = 1e-4;

/// A network and 8-bit samples for it.
struct Case {
    file: Vec<u8>,
    images: Vec<u8>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The digits that the page ships with, a convolutional network in colour, and the golden files, which hold every layer
/// there is.
fn cases() -> BTreeMap<String, Case> {
    let digits = data::load(&"glyphs".parse().unwrap(), Part::Test).unwrap();
    let shown = digits.subset(&(0..40).collect::<Vec<_>>()).images;
    let model = std::fs::read(root().join("examples/models/digits.thin")).unwrap();
    let mut cases = BTreeMap::from([("digits".to_string(), Case { file: model, images: shown })]);

    let resnet = zoo::build("resnet8").unwrap();
    let checkpoint = Checkpoint { params: graph::init(&resnet, 5), ..Checkpoint::default() };
    let factored = Factored::new(&resnet, &checkpoint, lower::Options::default(), &|_, _, _| ()).unwrap();
    let thin = factored.emit(Policy::Local(0.3), &factored.cuts(Policy::Local(0.3)).unwrap(), Dtype::F16, true).unwrap();
    cases.insert("resnet8".into(), Case { images: noise(4 * thin.input_len()), file: thin.as_bytes().to_vec() });

    for entry in std::fs::read_dir(root().join("tests/golden")).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "thin") {
            let file = std::fs::read(&path).unwrap();
            let images = noise(4 * Artifact::from_bytes(file.clone()).unwrap().input_len());
            cases.insert(path.file_stem().unwrap().to_string_lossy().into(), Case { file, images });
        }
    }
    cases
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// The program that `names` first finds.
fn browser() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|program| program.is_file())
}

/// Serves the page, the cases under `test/`, and passes on what is posted. `test/hold` is answered once `over` says so.
fn serve(listener: TcpListener, cases: Arc<BTreeMap<String, Case>>, posted: Sender<Value>, over: Arc<(Mutex<bool>, Condvar)>) {
    for stream in listener.incoming().flatten() {
        let (cases, posted, over) = (Arc::clone(&cases), posted.clone(), Arc::clone(&over));
        // A browser that hangs up is its own affair.
        std::thread::spawn(move || answer(stream, &cases, &posted, &over));
    }
}

fn answer(stream: TcpStream, cases: &BTreeMap<String, Case>, posted: &Sender<Value>, over: &(Mutex<bool>, Condvar)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.split('?').next()?.trim_start_matches('/').to_string();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim().to_ascii_lowercase().split_once(':') {
            Some(("content-length", n)) => length = n.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let case = |name: &str| cases.get(name);
    let body = match path.split('/').collect::<Vec<_>>()[..] {
        ["test", "networks"] => serde_json::to_vec(&cases.keys().collect::<Vec<_>>()).ok(),
        ["test", "network", name] => case(name).map(|c| c.file.clone()),
        ["test", "images", name] => case(name).map(|c| c.images.clone()),
        ["test", "page.js"] => std::fs::read(root().join("tests/web/page.js")).ok(),
        ["test", "result"] => {
            let mut text = vec![0; length];
            reader.read_exact(&mut text).ok()?;
            let _ = posted.send(serde_json::from_slice(&text).unwrap_or_default());
            Some(Vec::new())
        }
        ["test", "hold"] => {
            let guard = over.0.lock().ok()?;
            drop(over.1.wait_while(guard, |over| !*over));
            None
        }
        [""] => std::fs::read(root().join("target/web/index.html")).ok(),
        [name] => std::fs::read(root().join("target/web").join(name)).ok(),
        _ => None,
    };
    let kind = match path.rsplit('.').next() {
        Some("js") => "text/javascript",
        Some("wasm") => "application/wasm",
        _ if path.is_empty() => "text/html",
        _ => "application/octet-stream",
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let stream = reader.get_mut();
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()
}

/// Ends the browser with the test, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the page posts when it is opened with `device`, and a picture of it in target/web-DEVICE.png.
fn visit(browser: &Path, cases: Arc<BTreeMap<String, Case>>, device: &str) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (posted, result) = channel();
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let for_server = Arc::clone(&over);
    std::thread::spawn(move || serve(listener, cases, posted, for_server));
    let profile = tempfile::tempdir().unwrap();
    let child = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--no-first-run", "--hide-scrollbars"])
        .args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--window-size=940,820"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", root().join(format!("target/web-{device}.png")).display()))
        .arg(format!("http://{address}/?test=1&device={device}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Running(child);
    let start = Instant::now();
    let posted = loop {
        if let Ok(posted) = result.recv_timeout(Duration::from_millis(200)) {
            break posted;
        }
        let left = child.0.try_wait().unwrap();
        assert!(left.is_none() && start.elapsed() < PATIENCE, "{device}: the page posted nothing; browser: {left:?}");
    };
    *over.0.lock().unwrap() = true;
    over.1.notify_all();
    // The picture is taken once the held image has failed; a browser that stays longer is ended.
    for _ in 0..100 {
        if child.0.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    posted
}

/// The outputs of a case in a form, on the CPU here.
fn here(case: &Case, form: &str) -> Vec<f32> {
    let forms = Form::named(form).map_or(Forms::Ruled, Forms::All);
    let artifact = Artifact::from_bytes(case.file.clone()).unwrap();
    let mut session = Session::new(&Device::cpu(), &artifact, &Options { batch: 3, forms, ..Options::default() }).unwrap();
    session.run_images(&case.images).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap_or(&Vec::new()).iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect()
}

fn compare(what: &str, page: &[f64], here: &[f32]) -> f64 {
    assert_eq!(page.len(), here.len(), "{what}");
    let largest = here.iter().fold(1e-3, |m: f64, x| m.max(f64::from(x.abs())));
    let off = page.iter().zip(here).fold(0.0, |m: f64, (p, &h)| m.max((p - f64::from(h)).abs() / largest));
    assert!(page.iter().all(|x| x.is_finite()) && off <= ALLOWED, "{what}: {off:.1e}");
    off
}

fn best(values: &[f64]) -> Option<usize> {
    (0..values.len()).reduce(|best, i| if values[i] > values[best] { i } else { best })
}

fn check(result: &Value, cases: &BTreeMap<String, Case>, machine: &str) {
    assert_eq!(result["fault"], "", "{machine}");
    let said = result["machine"].as_str().unwrap_or_default();
    assert!(said.starts_with(machine), "the page ran on {said}, not on {machine}");
    let mut worst: f64 = 0.0;
    for (name, case) in cases {
        for form in ["dense", "two-stage", "fused", "auto"] {
            let page = numbers(&result["outputs"][name][form]);
            worst = worst.max(compare(&format!("{name} {form} on {said}"), &page, &here(case, form)));
        }
    }
    println!("{said}: {} networks, largest difference {worst:.1e}; ms of 1 and 64 digits, dense, thin: {}", cases.len(), result["times"]);
    // The glyphs come in order, 0 to 9 and again.
    let page = numbers(&result["outputs"]["digits"]["auto"]);
    let right = page.chunks(10).enumerate().filter(|(i, outputs)| best(outputs) == Some(i % 10)).count();
    assert!(right >= 36, "{right} of 40 digits");
    // A picture of a digit dropped on the page, seen by the network as it was, gives what those pixels give.
    let digits = &cases["digits"];
    let seen: Vec<u8> = numbers(&result["seen"]).iter().map(|&x| x as u8).collect();
    assert!(seen.iter().zip(&digits.images).all(|(a, b)| a.abs_diff(*b) <= 1) && seen.len() == 784);
    compare("the dropped digit", &numbers(&result["shown"]), &here(&Case { file: digits.file.clone(), images: seen }, "auto"));
    assert_eq!((&result["dropped"], &result["drawn"]), (&Value::from("0"), &Value::from("7")));
    let refused = result["refused"].as_str().unwrap_or_default();
    assert_eq!(refused, Artifact::from_bytes(b"not a network".to_vec()).unwrap_err().to_string());
    assert!(result["times"].as_array().unwrap().iter().flat_map(numbers).all(|ms| ms > 0.0));
}

#[test]
fn the_page_computes_what_the_cpu_executor_computes() {
    let required = std::env::var_os("THINFER_REQUIRE_WEB").is_some_and(|v| v == "1");
    let skip = |why: &str| if required { panic!("{why}") } else { println!("skipped: {why}") };
    let Some(browser) = browser() else { return skip("there is no chromium") };
    if !root().join("target/web/thinfer_web_bg.wasm").exists() {
        return skip("target/web is not built: run examples/web/build.sh");
    }
    let cases = Arc::new(cases());
    check(&visit(&browser, Arc::clone(&cases), "cpu"), &cases, "CPU");
    let gpu = visit(&browser, Arc::clone(&cases), "gpu");
    if gpu["fault"].as_str().is_some_and(|why| why.contains("adapter that can compute")) {
        return skip("this chromium has no WebGPU adapter");
    }
    check(&gpu, &cases, "WebGPU");
}
