//! Training methods, one a file. A method decides which tensors are trained and how a layer's weight is made of them, may
//! add a term to the loss and may act before a step; the loop knows none of them by name.

mod dense;
mod elrt;
mod factored;
mod finetune;
mod lorita;
mod method;
mod trp;

pub(crate) use dense::Dense;
pub(crate) use elrt::Elrt;
pub(crate) use finetune::Finetune;
pub(crate) use lorita::Lorita;
#[cfg(test)]
pub(crate) use lorita::Order;
pub(crate) use method::TrainingMethod;
pub(crate) use trp::Trp;

use super::settings::Method;

impl Method {
    /// The method that this configuration names.
    pub(crate) fn build(&self) -> Box<dyn TrainingMethod> {
        match *self {
            Method::Dense => Box::new(Dense),
            Method::Lorita { factors } => Box::new(Lorita::new(factors)),
            Method::Trp(settings) => Box::new(Trp::new(settings)),
            Method::Elrt(settings) => Box::new(Elrt::new(settings)),
            Method::Finetune => Box::new(Finetune),
        }
    }
}
