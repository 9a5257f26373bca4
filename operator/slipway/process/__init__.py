"""What Slipway's programs have in common as programs: how they are told what to do, and how they log."""
