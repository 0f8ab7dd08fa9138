//! How a tensor's elements are stored: names, GGUF's ids, block sizes.

macro_rules! dtypes {
    ($($variant:ident, $id:literal, $name:literal, $block:literal, $bytes:literal;)*) => {
        /// How a tensor's elements are stored, with GGUF's type ids.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        #[allow(missing_docs, non_camel_case_types)]
        pub enum DType { $($variant,)* }

        impl DType {
            /// Every known type, in the order of its GGUF id.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// GGUF's number for this type.
            pub const fn id(self) -> u32 { match self { $(DType::$variant => $id,)* } }

            /// The name users know: `Q4_K`, `F16`.
            pub const fn name(self) -> &'static str { match self { $(DType::$variant => $name,)* } }

            /// Elements in one block; a row's length is a multiple of it.
            pub const fn block_elements(self) -> u64 { match self { $(DType::$variant => $block,)* } }

            /// Bytes of one block.
            pub const fn block_len(self) -> u64 { match self { $(DType::$variant => $bytes,)* } }

            /// The type with this GGUF number.
            pub const fn from_id(id: u32) -> Option<DType> {
                match id { $($id => Some(DType::$variant),)* _ => None }
            }
        }
    };
}

dtypes! {
    F32, 0, "F32", 1, 4;
    F16, 1, "F16", 1, 2;
    Q4_0, 2, "Q4_0", 32, 18;
    Q4_1, 3, "Q4_1", 32, 20;
    Q5_0, 6, "Q5_0", 32, 22;
    Q5_1, 7, "Q5_1", 32, 24;
    Q8_0, 8, "Q8_0", 32, 34;
    Q8_1, 9, "Q8_1", 32, 36;
    Q2_K, 10, "Q2_K", 256, 84;
    Q3_K, 11, "Q3_K", 256, 110;
    Q4_K, 12, "Q4_K", 256, 144;
    Q5_K, 13, "Q5_K", 256, 176;
    Q6_K, 14, "Q6_K", 256, 210;
    Q8_K, 15, "Q8_K", 256, 292;
    IQ2_XXS, 16, "IQ2_XXS", 256, 66;
    IQ2_XS, 17, "IQ2_XS", 256, 74;
    IQ3_XXS, 18, "IQ3_XXS", 256, 98;
    IQ1_S, 19, "IQ1_S", 256, 50;
    IQ4_NL, 20, "IQ4_NL", 32, 18;
    IQ3_S, 21, "IQ3_S", 256, 110;
    IQ2_S, 22, "IQ2_S", 256, 82;
    IQ4_XS, 23, "IQ4_XS", 256, 136;
    I8, 24, "I8", 1, 1;
    I16, 25, "I16", 1, 2;
    I32, 26, "I32", 1, 4;
    I64, 27, "I64", 1, 8;
    F64, 28, "F64", 1, 8;
    IQ1_M, 29, "IQ1_M", 256, 56;
    BF16, 30, "BF16", 1, 2;
    TQ1_0, 34, "TQ1_0", 256, 54;
    TQ2_0, 35, "TQ2_0", 256, 66;
    MXFP4, 39, "MXFP4", 32, 17;
    NVFP4, 40, "NVFP4", 64, 36;
    Q1_0, 41, "Q1_0", 128, 18;
    Q2_0, 42, "Q2_0", 64, 18;
}

impl DType {
    /// Bytes of `elements` in a row: `None` if the row is not whole blocks or the size overflows.
    pub fn row_len(self, elements: u64) -> Option<u64> {
        if !elements.is_multiple_of(self.block_elements()) {
            return None;
        }
        (elements / self.block_elements()).checked_mul(self.block_len())
    }
}
