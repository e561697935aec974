"""Whether a site's films still look like those that the model learned from, week by week."""
