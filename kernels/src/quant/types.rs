//! Every type, a row each: the shape of its blocks, its encoder, and what takes its place.
//!
//! This is the only list. Decoding, the form in which a product wants its activations, and the
//! scalar and portable products are made of a type's shape by a [`Visitor`], so a type that has a
//! row has all of them; an instruction set's table says only what it does better.

use half::{bf16, f16};
use rillm_formats::manifest::DType;

use super::encode::{Encode, each_block, each_float};
use super::*;

macro_rules! types {
    ($(
        $dtype:ident
        $(: $shape:ident $(::<$block:ty>)? ($($float:expr)?)
            $(, $each:ident($encode:expr), else $stand_in:ident)?)?;
    )*) => {
        /// As long as [`DType::ALL`]: a type without a row does not compile.
        const ROWS: [TypeRow; DType::ALL.len()] = [$(TypeRow {
            dtype: DType::$dtype,
            encode: types!(@optional $($(|values, out| $each(values, out, $encode))?)?),
            stand_in: types!(@optional $($(DType::$stand_in)?)?),
        },)*];

        /// What `visitor` makes of a type's shape; `None` if no weights are stored in this type.
        pub fn visit<V: Visitor>(dtype: DType, visitor: V) -> Option<V::Output> {
            match dtype {
                $($(DType::$dtype => Some(visitor.$shape $(::<$block>)? ($($float)?)),)?)*
                // The rows without a shape: there are no others, as `ROWS` shows.
                _ => None,
            }
        }
    };
    (@optional) => { None };
    (@optional $some:expr) => { Some($some) };
}

types! {
    // type: shape, encoder, else what is taken where rows are not whole blocks
    F32: floats(Float::F32), each_float(f32::to_le_bytes), else F32;
    F16: floats(Float::F16), each_float(|x| f16::from_f32(x).to_le_bytes()), else F16;
    Q4_0: block32::<BlockQ4_0>(), each_block(q4_0), else F16;
    Q4_1: block32::<BlockQ4_1>(), each_block(q4_1), else F16;
    Q5_0: block32::<BlockQ5_0>(), each_block(q5_0), else F16;
    Q5_1: block32::<BlockQ5_1>(), each_block(q5_1), else F16;
    Q8_0: block32::<BlockQ8_0>(), each_block(q8_0), else F16;
    Q8_1;
    Q2_K: block256::<BlockQ2K>(), each_block(q2_k), else Q4_0;
    Q3_K: block256::<BlockQ3K>(), each_block(q3_k), else Q4_0;
    Q4_K: block256::<BlockQ4K>(), each_block(q4_k), else Q5_0;
    Q5_K: block256::<BlockQ5K>(), each_block(q5_k), else Q5_1;
    Q6_K: block256::<BlockQ6K>(), each_block(q6_k), else Q8_0;
    Q8_K;
    IQ2_XXS: block256::<BlockIQ2XXS>();
    IQ2_XS: block256::<BlockIQ2XS>();
    IQ3_XXS: block256::<BlockIQ3XXS>();
    IQ1_S: block256::<BlockIQ1S>();
    IQ4_NL: block32::<BlockIQ4NL>(), each_block(iq4_nl), else F16;
    IQ3_S: block256::<BlockIQ3S>();
    IQ2_S: block256::<BlockIQ2S>();
    IQ4_XS: block256::<BlockIQ4XS>(), each_block(iq4_xs), else IQ4_NL;
    I8;
    I16;
    I32;
    I64;
    F64;
    IQ1_M: block256::<BlockIQ1M>();
    BF16: floats(Float::BF16), each_float(|x| bf16::from_f32(x).to_le_bytes()), else BF16;
    TQ1_0: block256::<BlockTQ1_0>(), each_block(tq1_0), else Q4_0;
    TQ2_0: block256::<BlockTQ2_0>(), each_block(tq2_0), else Q4_0;
    MXFP4: block32::<BlockMXFP4>(), each_block(mxfp4), else F16;
    NVFP4: nvfp4();
    Q1_0: block32::<BlockQ1_0>(), each_block(q1_0), else Q4_0;
    Q2_0: block32::<BlockQ2_0>(), each_block(q2_0), else Q4_0;
}

struct TypeRow {
    dtype: DType,
    encode: Option<Encode>,
    stand_in: Option<DType>,
}

const _: () = {
    let mut index = 0;
    while index < ROWS.len() {
        assert!(
            ROWS[index].dtype.id() == DType::ALL[index].id(),
            "rows lie in another order"
        );
        assert!(ROWS[index].dtype as usize == index);
        index += 1;
    }
};

/// What there can be of weights. Whoever makes something of every type says it for each of these.
pub trait Visitor {
    /// What is made of a type.
    type Output;

    /// Floats, one by one.
    fn floats(self, float: Float) -> Self::Output;

    /// Groups of 32 with a float scale: legacy quants, IQ4_NL, MXFP4.
    fn block32<B: Block32>(self) -> Self::Output;

    /// Blocks of 256 whose groups have integer scales: K-quants, I-quants, IQ4_XS, ternary types.
    fn block256<B: Block256>(self) -> Self::Output;

    /// [`BlockNVFP4`]: groups of 16 with a float scale.
    fn nvfp4(self) -> Self::Output;
}

/// The floats that weights are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Float {
    /// Single precision.
    F32,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    BF16,
}

/// The encoder of a type, if there is one.
pub fn encode(dtype: DType) -> Option<Encode> {
    ROWS[dtype as usize].encode
}

/// What a tensor becomes that was to become `dtype`, if its rows are not whole blocks of that;
/// `None` if nothing is encoded as `dtype` at all.
pub fn stand_in(dtype: DType) -> Option<DType> {
    ROWS[dtype as usize].stand_in
}
