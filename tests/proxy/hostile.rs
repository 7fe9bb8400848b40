//! (being written by another developer, helper-12: leave this file to him)
