"""Files and tables in: opened, their container recognised, cut into rows, read fast and in bounded memory."""
