//! thinfer for a page: what index.html needs of devices, artifacts and sessions, in JavaScript's types. Nothing here
//! blocks; errors are exceptions with the runtime's own message.

use thinfer::{Artifact, Device, DeviceClass, DeviceKind, Form, Forms, Options, Session};
use wasm_bindgen::prelude::*;

/// Something to run on.
#[wasm_bindgen]
pub struct Machine(Device);

#[wasm_bindgen]
impl Machine {
    /// `gpu` is WebGPU, `cpu` this program itself, `auto` WebGPU where it is more than software.
    pub async fn open(kind: String) -> Result<Machine, JsError> {
        let kind: DeviceKind = kind.parse().map_err(|why: String| JsError::new(&why))?;
        Ok(Self(Device::open_async(kind).await?))
    }

    /// What it is, for people. Browsers name no adapter to a program; index.html asks for the vendor itself.
    pub fn describe(&self) -> String {
        match self.0.info().class {
            DeviceClass::Cpu => "CPU (WebAssembly, one thread)",
            DeviceClass::Software => "WebGPU in software",
            _ => "WebGPU",
        }
        .into()
    }
}

/// A `.thin` file.
#[wasm_bindgen]
pub struct Network(Artifact);

#[wasm_bindgen]
impl Network {
    /// Checks a file's bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(file: Vec<u8>) -> Result<Network, JsError> {
        Ok(Self(Artifact::from_bytes(file)?))
    }

    /// As the file calls itself.
    pub fn name(&self) -> String {
        self.0.model().name.clone()
    }

    /// Channels, height and width of the images that it takes; empty where its input is no image.
    pub fn image(&self) -> Vec<u32> {
        self.0.input().image().map_or_else(Vec::new, |shape| shape.map(|d| d as u32).to_vec())
    }

    /// The shape that its input is declared with.
    pub fn declared(&self) -> String {
        self.0.input().spec.declared()
    }

    /// What the outputs of one image say of its classes: a probability for each; empty where they are no scores of classes.
    pub fn probabilities(&self, outputs: Vec<f32>) -> Vec<f64> {
        self.0.output().meaning.probabilities(&outputs).unwrap_or_default()
    }

    /// The classes' names; empty where the file has none.
    pub fn classes(&self) -> Vec<String> {
        self.0.model().classes.clone()
    }

    /// Prepares it for up to `batch` images at once: every factored layer in a form by name (`dense` multiplies factors back
    /// to the weight that they stand for), or each in the one that suits the device (`auto`).
    pub fn session(&self, machine: &Machine, form: &str, batch: usize) -> Result<Runner, JsError> {
        let forms = match (form, Form::named(form)) {
            ("auto", _) => Forms::Ruled,
            (_, Some(form)) => Forms::All(form),
            (_, None) => return Err(JsError::new(&format!("unknown form '{form}'"))),
        };
        Ok(Runner(Session::new(&machine.0, &self.0, &Options { batch, forms, ..Options::default() })?))
    }
}

/// A network on a device.
#[wasm_bindgen]
pub struct Runner(Session);

#[wasm_bindgen]
impl Runner {
    /// Outputs for 8-bit images, one after the other, channel after channel each, red first.
    pub async fn run(&mut self, images: Vec<u8>) -> Result<Vec<f32>, JsError> {
        let images = self.0.input().from_planes(&images);
        let outputs = self.0.run_images_async(&images).await?;
        Ok(self.0.output().spec.by_sample(&outputs).into_owned())
    }

    /// Multiply–accumulates for one image.
    pub fn macs(&self) -> f64 {
        self.0.layers().iter().map(|l| l.macs as f64).sum()
    }
}
