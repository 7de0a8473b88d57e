"""What a campaign is and how it lives."""
