def test_shot(olga, look):
    pass
