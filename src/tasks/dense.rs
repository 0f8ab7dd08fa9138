//! A layer of weights behind pooling, and the functions that torch calls by the names of classes.

use super::modules::{expect_vector, tensor};
use super::settings::{ModuleSettings, bad};
use crate::error::LoadError;
use crate::kernels::{Kernels, Pointwise};
use crate::model::Model;
use crate::quant;
use crate::weights::DenseTensor;

/// y = f(W x + b), and, if it has a residual connection, + R x on top.
#[derive(Clone, Debug)]
pub(super) struct DenseLayer {
    /// Row by row.
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    columns: usize,
    function: Pointwise,
    residual: Option<Residual>,
    kernels: &'static Kernels,
}

/// What is added to a layer's output.
#[derive(Clone, Debug)]
enum Residual {
    /// Its input.
    Input,
    /// Its input by another matrix.
    Projected(Vec<f32>),
}

impl DenseLayer {
    pub(super) fn read(
        config: &ModuleSettings,
        model: &Model,
        path: &str,
        width: usize,
    ) -> Result<DenseLayer, LoadError> {
        expect_vector(config)?;
        let files = model.module_files();
        let (columns, rows) = (
            config.needed("in_features", 1)?,
            config.needed("out_features", 1)?,
        );
        if columns != width {
            return Err(config.bad(format_args!(
                "in_features is {columns}, but what comes before has {width} dimensions"
            )));
        }
        let name = config.text("activation_function")?;
        let name = name.unwrap_or("torch.nn.modules.activation.Tanh");
        let bias = match config.flag("bias", true)? {
            true => Some(tensor(files, path, "linear.bias", &[rows])?),
            false => None,
        };
        let residual = match config.flag("use_residual", false)? {
            true if rows == columns => Some(Residual::Input),
            true => {
                let weight = tensor(files, path, "residual.weight", &[rows, columns])?;
                Some(Residual::Projected(weight))
            }
            false => None,
        };
        Ok(DenseLayer {
            weight: tensor(files, path, "linear.weight", &[rows, columns])?,
            bias,
            columns,
            function: activation(name).ok_or_else(|| {
                config.bad(format_args!("activation_function {name:?} is not known"))
            })?,
            residual,
            kernels: model.kernels(),
        })
    }

    /// A matrix without bias and function.
    pub(super) fn of_gguf(
        tensor: &DenseTensor,
        model: &Model,
        width: usize,
    ) -> Result<DenseLayer, LoadError> {
        let name = tensor.name;
        let (rows, columns) = match tensor.shape[..] {
            [rows, columns] if columns == width as u64 && rows > 0 => (rows as usize, width),
            _ => {
                return Err(bad(format!(
                    "tensor {name} has shape {:?}, expected {width} columns",
                    tensor.shape
                )));
            }
        };
        let decode = quant::decode(tensor.dtype);
        let decode = decode
            .ok_or_else(|| bad(format!("tensor {name} is of type {}", tensor.dtype.name())))?;
        let mut weight = vec![0.0; rows * columns];
        decode(&tensor.bytes, &mut weight);
        if !weight.iter().all(|value| value.is_finite()) {
            return Err(bad(format!(
                "tensor {name} holds a value that is not finite"
            )));
        }
        Ok(DenseLayer {
            weight,
            bias: None,
            columns,
            function: Pointwise::Identity,
            residual: None,
            kernels: model.kernels(),
        })
    }

    /// Dimensions of what it gives.
    pub(super) fn rows(&self) -> usize {
        self.weight.len() / self.columns
    }

    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut y = product(&self.weight, x);
        if let Some(bias) = &self.bias {
            add(&mut y, bias);
        }
        (self.kernels.pointwise)(self.function, &mut y);
        match &self.residual {
            None => {}
            Some(Residual::Input) => add(&mut y, x),
            Some(Residual::Projected(weight)) => add(&mut y, &product(weight, x)),
        }
        y
    }
}

/// W x
fn product(weight: &[f32], x: &[f32]) -> Vec<f32> {
    let rows = weight.chunks_exact(x.len().max(1));
    let sums = rows.map(|row| {
        let terms = row
            .iter()
            .zip(x)
            .map(|(w, x)| f64::from(*w) * f64::from(*x));
        terms.sum::<f64>() as f32
    });
    sums.collect()
}

fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

/// A function by the name of its class in torch.
pub(super) fn activation(class: &str) -> Option<Pointwise> {
    Some(match class.rsplit('.').next()? {
        "Identity" => Pointwise::Identity,
        "Tanh" => Pointwise::Tanh,
        "Sigmoid" => Pointwise::Sigmoid,
        "ReLU" => Pointwise::Relu,
        "ReLU6" => Pointwise::Relu6,
        "LeakyReLU" => Pointwise::LeakyRelu,
        "GELU" => Pointwise::GeluErf,
        "SiLU" => Pointwise::Silu,
        "Mish" => Pointwise::Mish,
        "Softplus" => Pointwise::Softplus,
        "Hardswish" => Pointwise::HardSwish,
        _ => return None,
    })
}
