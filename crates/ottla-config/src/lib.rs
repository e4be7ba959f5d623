//! One definition per configuration key.
