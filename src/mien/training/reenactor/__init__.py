"""The stage that trains nano's one-pass reenactor, with its data and keypoint basis."""
